//! What PostgreSQL has to say of a column that cannot be found: where there is one of that name, or which one is nearly called so.

use super::entry::Entry;
use crate::error::Error;

/// A name may differ by so many letters.
const FAR: usize = 3;

/// The columns nearest to a name: two at most.
struct Nearest<'a> {
    distance: usize,
    columns: Vec<(&'a Entry, &'a str)>,
}

/// `error`, which says that there is no column `name` of `relation` or at all, with detail or hint. `entries` are all that FROM and the
/// queries around read, whatever can be named here, the nearest first.
pub fn column<'a>(error: Error, relation: Option<&str>, name: &str, entries: impl Iterator<Item = &'a Entry>) -> Error {
    let mut nearest = Nearest { distance: FAR + 1, columns: vec![] };
    let mut hidden = vec![];
    for entry in entries {
        let penalty = relation.map_or(0, |relation| distance(relation, &entry.name));
        for (column, _) in &entry.columns {
            if column == name && penalty == 0 {
                hidden.push(entry);
            }
            nearest.consider(penalty, entry, column, name);
        }
    }
    match (&hidden[..], &nearest.columns[..]) {
        ([entry], _) => {
            let there = format!("There is a column named \"{name}\" in table \"{}\"", entry.name);
            error.detail(format!("{there}, but it cannot be referenced from this part of the query."))
        }
        ([_, _, ..], _) => {
            let there = format!("There are columns named \"{name}\", but they are in tables");
            let error = error.detail(format!("{there} that cannot be referenced from this part of the query."));
            if relation.is_none() { error.hint("Try using a table-qualified name.") } else { error }
        }
        ([], []) => error,
        ([], near) => {
            let near: Vec<_> =
                near.iter().map(|(entry, column)| format!("the column \"{}.{column}\"", entry.name)).collect();
            error.hint(format!("Perhaps you meant to reference {}.", near.join(" or ")))
        }
    }
}

impl<'a> Nearest<'a> {
    fn consider(&mut self, penalty: usize, entry: &'a Entry, column: &'a str, name: &str) {
        let apart = distance(column, name);
        // Not if half of the letters are different.
        if penalty > self.distance || apart > name.len() / 2 {
            return;
        }
        let apart = apart + penalty;
        if apart < self.distance {
            self.distance = apart;
            self.columns = vec![(entry, column)];
        } else if apart == self.distance {
            match self.columns.len() {
                1 => self.columns.push((entry, column)),
                // Of so many none is meant.
                _ => self.columns.clear(),
            }
        }
    }
}

/// How many letters are other ones, too many or too few.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, with) in other.iter().enumerate() {
            let kept = diagonal + usize::from(letter != *with);
            diagonal = row[at + 1];
            row[at + 1] = kept.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}
