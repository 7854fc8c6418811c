//! ORDER BY, OFFSET and LIMIT.

use super::Binder;
use super::expression::Place;
use super::position::{self, located};
use super::rows::Limit;
use super::scope::Scope;
use super::targets::Target;
use crate::bound::{Bound, Expr, Kind, Order, not_yet};
use crate::postgres::types;
use datafusion::sql::sqlparser::ast::{self, OrderByExpr, OrderByOptions};

/// What stands after a query's body.
#[derive(Default)]
pub struct Tail<'q> {
    pub order: &'q [OrderByExpr],
    pub skip: Option<&'q ast::Expr>,
    pub fetch: Fetch<'q>,
}

/// How many rows are wanted.
#[derive(Default)]
pub enum Fetch<'q> {
    #[default]
    All,
    One,
    Number(&'q ast::Expr),
}

/// A target to sort by.
pub struct By {
    pub target: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl By {
    /// Once the target is a column.
    pub fn order(&self, targets: &[Target]) -> Order {
        Order { by: targets[self.target].value.clone(), descending: self.descending, nulls_first: self.nulls_first }
    }
}

impl Binder<'_> {
    /// ORDER BY; `place` is its place. NULLs are larger than everything.
    pub fn sort_by<'q>(
        &mut self,
        order: &'q [OrderByExpr],
        targets: &mut Vec<Target<'q>>,
        place: &mut Place,
    ) -> Bound<Vec<By>> {
        let mut sorted: Vec<By> = vec![];
        for OrderByExpr { expr, options, with_fill } in order {
            if with_fill.is_some() {
                return not_yet("WITH FILL");
            }
            let OrderByOptions { asc, nulls_first } = options;
            let target = self.target(expr, targets, place)?;
            self.sortable(targets[target].value.kind()).map_err(|why| located(why, position::of(expr)))?;
            let descending = *asc == Some(false);
            // What has been sorted by already makes no difference any more.
            if sorted.iter().all(|by| by.target != target) {
                sorted.push(By { target, descending, nulls_first: nulls_first.unwrap_or(descending) });
            }
        }
        Ok(sorted)
    }

    /// OFFSET and LIMIT, over what `scope` says, though it must not be named there.
    pub fn limit(&mut self, tail: &Tail, scope: &Scope) -> Bound<Limit> {
        let skip = match tail.skip {
            Some(skip) => Some(self.number(skip, &mut Place { scope, clause: "OFFSET", groups: None })?),
            None => None,
        };
        let fetch = match tail.fetch {
            Fetch::All => None,
            Fetch::One => Some(Expr::Constant { value: Some("1".into()), kind: int8() }),
            Fetch::Number(number) => Some(self.number(number, &mut Place { scope, clause: "LIMIT", groups: None })?),
        };
        Ok(Limit { skip, fetch })
    }
}

fn int8() -> Kind {
    types::named("int8").expect("PostgreSQL has it").oid.into()
}
