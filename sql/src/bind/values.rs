//! VALUES: rows of expressions.

use super::Binder;
use super::convert::Placed;
use super::expression::Place;
use super::group::Groups;
use super::order::{By, Tail};
use super::position::{self, placed};
use super::rows::Rows;
use super::scope::{Column, Named, Scope};
use super::targets::Target;
use crate::bound::{Bound, ColumnId, Expr, Kind, Node, Unbound, not_yet};
use crate::error::Error;
use datafusion::sql::sqlparser::ast;

impl Binder<'_> {
    /// Columns are `column1`, `column2`, …; each has the type that its values have together.
    pub fn values(&mut self, values: &ast::Values, tail: &Tail) -> Bound<Rows> {
        let ast::Values { explicit_row, value_keyword, rows } = values;
        if *explicit_row || *value_keyword {
            return not_yet("this form of VALUES");
        }
        let rows: Vec<&[ast::Expr]> = rows.iter().map(|row| row.content.as_slice()).collect();
        let width = rows.first().map_or(0, |row| row.len());
        if width == 0 {
            return not_yet("VALUES without columns");
        }
        let mut scope = self.nothing();
        let mut columns: Vec<Vec<Placed>> = vec![Vec::with_capacity(rows.len()); width];
        for row in &rows {
            let mut bound = vec![];
            for expr in *row {
                let value = self.expression(expr, &mut Place { scope: &scope, clause: "VALUES", groups: None })?;
                bound.push((value, position::of(expr)));
            }
            same_length(row, width)?;
            for (column, value) in columns.iter_mut().zip(bound) {
                column.push(value);
            }
        }
        let mut kinds = vec![];
        let mut bound: Vec<Vec<Expr>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        for column in columns {
            let (column, kind) = self.alike(column, "VALUES", |_| "VALUES")?;
            kinds.push((self.column(), kind));
            for (row, value) in bound.iter_mut().zip(column) {
                row.push(value);
            }
        }
        scope.relations = vec![named(&kinds)];
        let node = Node::Values { columns: kinds, rows: bound };
        self.ordered_values(node, scope, rows[0], tail)
    }

    fn ordered_values<'q>(&mut self, node: Node, scope: Scope, first: &'q [ast::Expr], tail: &Tail<'q>) -> Bound<Rows> {
        let columns = scope.relations.iter().flat_map(|relation| relation.columns.iter());
        let target = |(column, expr): (&Column, &ast::Expr)| Target {
            name: column.name.clone(),
            value: column.value.clone(),
            syntax: None,
            position: position::of(expr),
            is_shown: true,
        };
        let mut targets: Vec<Target> = columns.zip(first).map(target).collect();
        let mut groups = Groups::default();
        let mut place = Place { scope: &scope, clause: "ORDER BY", groups: Some(&mut groups) };
        let by = self.sort_by(tail.order, &mut targets, &mut place)?;
        if !groups.aggregates.is_empty() || !groups.windows.is_empty() {
            return not_yet("aggregates and window functions in ORDER BY of VALUES");
        }
        let limit = self.limit(tail, &scope)?;
        let node = self.extended(node, targets.iter_mut().map(|target| &mut target.value));
        let order = by.iter().map(|by: &By| by.order(&targets)).collect();
        let items = targets.into_iter().filter_map(Target::item).collect();
        Ok(Rows { node, items, order, is_sorted: false }.limited(limit))
    }
}

/// 42601 of a row that has not `width` values.
pub fn same_length(row: &[ast::Expr], width: usize) -> Bound<()> {
    match row.len() == width {
        true => Ok(()),
        false => {
            let error = Error::syntax("VALUES lists must all be the same length");
            Err(Unbound::Wrong(placed(error, row.first().and_then(position::of))))
        }
    }
}

/// PostgreSQL's own name for them.
fn named(columns: &[(ColumnId, Kind)]) -> Named {
    let column = |(at, (id, kind)): (usize, &(ColumnId, Kind))| Column {
        name: format!("column{}", at + 1),
        value: Expr::Column { id: *id, kind: *kind },
    };
    let columns = columns.iter().enumerate().map(column).collect();
    Named { name: Some("*VALUES*".into()), is_plain: false, is_shown: true, columns }
}
