//! Values as columns, and columns as a client sees them.

use super::Binder;
use super::rows::Item;
use crate::bound::{Bound, ColumnId, Expr, Node, Output};
use crate::postgres::types::UNKNOWN;
use std::collections::HashSet;

impl Binder<'_> {
    /// Makes columns, beside those of `node`, of the values that are none; what is UNKNOWN is left.
    pub fn extended<'e>(&mut self, node: Node, values: impl IntoIterator<Item = &'e mut Expr>) -> Node {
        self.own(node, values, |_| true)
    }

    /// The same, also of columns that are named in a query though they are of one around it: what it gives are columns of its own.
    pub fn own<'e>(
        &mut self,
        node: Node,
        values: impl IntoIterator<Item = &'e mut Expr>,
        is_own: impl Fn(ColumnId) -> bool,
    ) -> Node {
        let mut columns = vec![];
        for value in values {
            let kind = value.kind();
            if matches!(value, Expr::Column { id, .. } if is_own(*id)) || kind.oid == UNKNOWN {
                continue;
            }
            let id = self.column();
            columns.push((id, std::mem::replace(value, Expr::Column { id, kind })));
        }
        match columns.is_empty() {
            true => node,
            false => Node::Extend { input: Box::new(node), columns },
        }
    }

    /// What `items` are, as columns of the node that is given back. Those that are UNKNOWN become text.
    pub fn outputs(&mut self, node: Node, items: Vec<Item>) -> Bound<(Node, Vec<Output>)> {
        let mut names = vec![];
        let mut values = vec![];
        for item in items {
            names.push(item.name);
            values.push(self.settled(item.value)?);
        }
        let node = self.extended(node, &mut values);
        let output = |(name, value): (String, Expr)| match value {
            Expr::Column { id, kind } => Output { column: id, name, kind },
            other => unreachable!("no column was made of {other:?}"),
        };
        Ok((node, names.into_iter().zip(values).map(output).collect()))
    }

    /// The same, no two of them as one column: another query can tell them apart.
    pub fn distinct_outputs(&mut self, node: Node, items: Vec<Item>) -> Bound<(Node, Vec<Output>)> {
        let (node, mut outputs) = self.outputs(node, items)?;
        let mut seen = HashSet::new();
        let mut columns = vec![];
        for output in &mut outputs {
            if !seen.insert(output.column) {
                let id = self.column();
                let same = Expr::Column { id: std::mem::replace(&mut output.column, id), kind: output.kind };
                columns.push((id, same));
            }
        }
        let node = if columns.is_empty() { node } else { Node::Extend { input: Box::new(node), columns } };
        Ok((node, outputs))
    }
}
