//! What a relation keeps: arrangements in their roles.

/// One thing for every arrangement of a relation, by its role. Where they are listed, as the catalog does, those of its operators come
/// first, then rows, then errors: nobody but [`Roles::of`] and [`Roles::iter`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles<T> {
    /// From the root of its plan down.
    pub operators: Vec<T>,
    pub rows: T,
    pub errors: T,
}

/// What an arrangement is to its relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Operator,
    Rows,
    Errors,
}

impl<T> Roles<T> {
    /// Of a list; `None`: it is too short for rows and errors.
    pub fn of(list: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut operators: Vec<T> = list.into_iter().collect();
        let errors = operators.pop()?;
        let rows = operators.pop()?;
        Some(Self { operators, rows, errors })
    }

    /// As they are listed.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.operators.iter().chain([&self.rows, &self.errors])
    }

    /// The same, each with its role.
    pub fn by_role(&self) -> impl Iterator<Item = (Role, &T)> {
        let operators = self.operators.iter().map(|one| (Role::Operator, one));
        operators.chain([(Role::Rows, &self.rows), (Role::Errors, &self.errors)])
    }

    /// Those that others read: together they are its change log.
    pub fn log(&self) -> [&T; 2] {
        [&self.rows, &self.errors]
    }

    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Roles<U> {
        Roles { operators: self.operators.iter().map(&mut f).collect(), rows: f(&self.rows), errors: f(&self.errors) }
    }

    /// `None` if `f` has nothing for one of them.
    pub fn try_map<U>(&self, f: impl FnMut(&T) -> Option<U>) -> Option<Roles<U>> {
        Roles::of(self.iter().map(f).collect::<Option<Vec<_>>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_roles_and_is_the_same_list_again() {
        for list in [vec![1, 2], vec![1, 2, 3, 4]] {
            let roles = Roles::of(list.clone()).expect("rows and errors");
            assert_eq!(roles.iter().copied().collect::<Vec<_>>(), list);
            assert_eq!(roles.log().map(|one| *one), list[list.len() - 2..]);
            let operators = roles.by_role().filter(|(role, _)| *role == Role::Operator).count();
            assert_eq!(operators, list.len() - 2);
            assert_eq!(roles.try_map(|one| Some(one + 1)), Some(roles.map(|one| one + 1)));
            assert_eq!(roles.try_map(|one| (*one < 2).then_some(*one)), None);
        }
        assert_eq!(Roles::of([1]), None);
    }
}
