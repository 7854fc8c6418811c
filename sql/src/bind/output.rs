//! Values as columns, and columns as a client sees them.

use super::Binder;
use super::rows::Item;
use crate::bound::{Bound, Expr, Node, Output};
use crate::postgres::types::UNKNOWN;

impl Binder<'_> {
    /// Makes columns, beside those of `node`, of the values that are none; what is UNKNOWN is left.
    pub fn extended<'e>(&mut self, node: Node, values: impl IntoIterator<Item = &'e mut Expr>) -> Node {
        let mut columns = vec![];
        for value in values {
            let kind = value.kind();
            if matches!(value, Expr::Column { .. }) || kind.oid == UNKNOWN {
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
}
