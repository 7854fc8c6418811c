//! JOIN … USING and NATURAL JOIN: columns that two sides have in common become one.

use super::Binder;
use super::operator::{COPIES, parts};
use super::rows::Source;
use super::scope::{Column, Named};
use crate::bound::{Bound, Expr, Join, Node, not_yet};
use crate::error::Error;

impl Binder<'_> {
    /// Rows of both sides that are equal in the columns called `names`. These come first, once each; then what else the left side shows, and
    /// the right one. Relations of both sides can still be named, but their columns not without them.
    pub fn using(&mut self, kind: Join, left: Source, right: Source, names: &[String]) -> Bound<Source> {
        let (left_columns, right_columns) = (shown(&left.relations), shown(&right.relations));
        let mut pairs = vec![];
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                let text = format!("column name \"{name}\" appears more than once in USING clause");
                return Err(Error::new("42701", text).into());
            }
            pairs.push((one(&left_columns, name, "left")?, one(&right_columns, name, "right")?));
        }
        let mut conditions = vec![];
        for (l, r) in &pairs {
            let (l, r) = (left_columns[*l].value.clone(), right_columns[*r].value.clone());
            conditions.push(self.operation("=", Some(l), r)?);
        }
        let (mut columns, mut size) = (vec![], 0);
        for (name, (l, r)) in names.iter().zip(&pairs) {
            let value = self.merged(kind, &left_columns[*l].value, &right_columns[*r].value)?;
            // Whoever names the column, the next join before all others, has a copy of what it is made of.
            size += parts(&value, COPIES);
            if size > COPIES {
                return not_yet("columns that so many joins have merged");
            }
            columns.push(Column { name: name.clone(), value });
        }
        let rest = |columns: Vec<Column>, merged: Vec<usize>| {
            columns.into_iter().enumerate().filter(move |(at, _)| !merged.contains(at)).map(|(_, column)| column)
        };
        let (merged_left, merged_right) = pairs.into_iter().unzip();
        columns.extend(rest(left_columns, merged_left).chain(rest(right_columns, merged_right)));
        let on = match conditions.len() {
            0 | 1 => conditions.pop(),
            _ => Some(Expr::And(conditions)),
        };
        let node = Node::Join { kind, left: Box::new(left.node), right: Box::new(right.node), on };
        let sides = left.relations.into_iter().chain(right.relations);
        let mut relations: Vec<Named> = sides.map(|relation| Named { is_shown: false, ..relation }).collect();
        relations.push(Named { name: None, is_plain: false, is_shown: true, columns: columns.into() });
        Ok(Source { node, relations, order: vec![] })
    }

    /// The value of both sides' column: the one that is there in every row, or the first that is.
    fn merged(&mut self, kind: Join, left: &Expr, right: &Expr) -> Bound<Expr> {
        let (values, common) = self.together(vec![left.clone(), right.clone()], "JOIN/USING")?;
        let is_left = match kind {
            // The one that does not have to be converted, if there is one.
            Join::Inner => values[0] == *left || values[1] != *right,
            Join::Left | Join::Semi | Join::Anti | Join::Mark(_) => true,
            Join::Right => false,
            Join::Full => return Ok(Expr::Coalesce { arguments: values, kind: common }),
        };
        let mut values = values.into_iter();
        let value = if is_left { values.next() } else { values.nth(1) };
        Ok(value.expect("as many values come back as were given"))
    }
}

fn shown(relations: &[Named]) -> Vec<Column> {
    relations.iter().filter(|relation| relation.is_shown).flat_map(|relation| relation.columns.to_vec()).collect()
}

/// The place of the column that is called so.
fn one(columns: &[Column], name: &str, side: &str) -> Bound<usize> {
    let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => {
            let text = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
            Err(Error::new("42703", text).into())
        }
        _ => {
            let text = format!("common column name \"{name}\" appears more than once in {side} table");
            Err(Error::new("42702", text).into())
        }
    }
}
