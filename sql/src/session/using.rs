//! Columns that a join merges by USING: the one of the left side or else that of the right, shown first.
//!
//! DataFusion takes the left side's alone, which is NULL for the right side's rows without a partner. Of a RIGHT JOIN Postgres shows
//! the right side's, of the type of both.

use super::join::{column, constraint, name};
use super::names::folded;
use crate::statement::call;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use std::ops::ControlFlow;

/// Writes merged columns as what they are, where a SELECT joins two relations so.
pub fn merge(select: &mut Select) {
    let [TableWithJoins { relation, joins }] = &select.from[..] else { return };
    let [join] = &joins[..] else { return };
    let (Some(JoinConstraint::Using(names)), Some(left), Some(right)) =
        (constraint(&join.join_operator), name(relation), name(&join.relation))
    else {
        return;
    };
    let columns: Vec<Ident> = names.iter().filter_map(column).collect();
    let shown = match join.join_operator {
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Shown::Right,
        JoinOperator::FullOuter(_) => Shown::Either,
        _ => Shown::Left,
    };
    let mut merged = Merged { columns, left, right, shown, depth: 0 };
    let mut items = vec![];
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) => {
                if let Some((value, alias)) = merged.value(expr) {
                    item = SelectItem::ExprWithAlias { expr: value, alias };
                }
            }
            SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions::default() => {
                // Postgres shows merged columns first.
                let columns = merged.columns.clone();
                let first = columns.iter().filter_map(|column| merged.value(&Expr::Identifier(column.clone())));
                items.extend(first.map(|(expr, alias)| SelectItem::ExprWithAlias { expr, alias }));
                options.opt_exclude =
                    Some(ExcludeSelectItem::Multiple(columns.into_iter().map(ObjectName::from).collect()));
                let rest = |side: &Ident| {
                    let name = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(side.clone()));
                    SelectItem::QualifiedWildcard(name, options.clone())
                };
                items.push(rest(&merged.left));
                item = rest(&merged.right);
            }
            other => {
                // Nothing breaks off.
                let _ = other.visit(&mut merged);
            }
        }
        items.push(item);
    }
    select.projection = items;
    for part in select.selection.iter_mut().chain(&mut select.having) {
        let _ = part.visit(&mut merged);
    }
    let _ = select.group_by.visit(&mut merged);
}

/// The side whose column is shown.
enum Shown {
    Left,
    Right,
    /// The left one if it has a value.
    Either,
}

struct Merged {
    columns: Vec<Ident>,
    left: Ident,
    right: Ident,
    shown: Shown,
    /// Subqueries around what is visited: names in them may be their own.
    depth: usize,
}

impl Merged {
    /// The value of a merged column, and its name.
    fn value(&self, expr: &Expr) -> Option<(Expr, Ident)> {
        let Expr::Identifier(name) = expr else { return None };
        let column = self.columns.iter().find(|column| folded(column) == folded(name))?;
        let of = |side: &Ident| Expr::CompoundIdentifier(vec![side.clone(), column.clone()]);
        let value = match self.shown {
            Shown::Left => of(&self.left),
            Shown::Right => Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: None,
                conditions: vec![CaseWhen { condition: Expr::value(Value::Boolean(true)), result: of(&self.right) }],
                // Never: it is there for its type.
                else_result: Some(Box::new(of(&self.left))),
            },
            Shown::Either => call("coalesce", vec![of(&self.left), of(&self.right)]),
        };
        Some((value, name.clone()))
    }
}

impl VisitorMut for Merged {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Some((value, _)) = self.value(expr)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}
