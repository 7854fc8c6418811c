//! Bound queries without the queries in their expressions: each becomes a join, by one method. Pure: a bound tree to a bound tree.
//!
//! A subquery stands in an expression of a node. The node's input, the *source*, is joined with the subquery's rows so that what the
//! subquery is becomes a column of the source's row, and the expression names that instead; a condition of a filter that is a subquery by
//! itself, or its opposite, becomes a semi or an anti join. Subqueries of subqueries are unnested first. What a subquery is made of:
//!
//! 1. Rows that name outer columns in conditions alone: the conditions become the join's ([`lift`]), mostly equalities, which are keys.
//! 2. All others are joined with the *domain*, the different values of the outer columns that they name, pushed down to where these are
//!    named ([`domain`]); then each row of the source finds what belongs to its values. This is the method of Neumann and Kemper,
//!    "Unnesting Arbitrary Queries".
//!
//! What comes of it ([`value`]):
//!
//! * A subquery that is an aggregate of all rows, or selects from nothing, is one row for each row of the source, in which counts are 0
//!   where the aggregate had no rows. Its select list and HAVING become part of the expression.
//! * EXISTS and ANY are marks: whether a row has a match. `x = ANY` is NULL, if it has none, where x or one of the values is: these are
//!   counted. Of other comparisons, those that are NULL are looked for by another mark. ALL is the opposite of ANY of the opposite.
//! * A value is what there is one of in a group by the outer values, and [`Expr::Only`] fails where the group has more rows, in the place
//!   where the value is used: an error that nobody asks for is nobody's. ARRAY is all values of that group, in their order.
//!
//! Errors: what may fail in a correlated subquery is evaluated for the rows that some row of the source asks for, except for conditions,
//! whose order PostgreSQL does not promise either. In a branch of CASE or COALESCE, which not every row of the source takes, such a
//! subquery is `NotYet`. That a number grows too large for its type does not count as what may fail.
//!
//! `NotYet` as well: what a copy of the source would give other rows for (LIMIT, chance, sums of floats) where a domain is needed, values
//! of which equal ones may look different (numeric without a scale, float, interval, jsonb) where more is done with an outer one than to
//! compare it, LIMIT of more than one row in a subquery that needs a domain, functions of chance in a subquery, subqueries in LIMIT. The
//! same holds of window functions as of LIMIT and CASE: which rows are where among peers is chance, and an argument may be evaluated for
//! no row.
//!
//! In reading order: this file (where subqueries stand), [`condition`], [`value`], [`source`], [`domain`], [`lift`], [`known`], [`risk`],
//! [`make`], [`walk`].

mod condition;
mod domain;
mod known;
mod lift;
mod make;
mod risk;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use crate::bound::{
    Aggregate, Bound, ColumnId, Edge, Expr, Form, Join, Kind, Node, Query, Set, Subquery, Window, not_yet,
};
use crate::postgres::functions;
use crate::{stack, stop};
use make::{Numbers, conjuncts, extend, filter, join};
use source::Source;
use walk::{Names, names_any};

/// Whether there is a subquery in an expression of `query`.
pub fn is_needed(query: &Query) -> bool {
    walk::any_below(&query.root, &is_subquery)
}

/// `query` without subqueries: [`Expr::Subquery`] is nowhere in it, and it has the same rows.
pub fn unnest(query: Query) -> Bound<Query> {
    let mut work = Unnest { numbers: Numbers::new(query.columns) };
    let root = work.node(query.root)?;
    Ok(Query { root, columns: work.numbers.last, ..query })
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_))
}

fn has_subquery(expr: &Expr) -> bool {
    walk::any(expr, &is_subquery)
}

/// The work on one statement.
struct Unnest {
    numbers: Numbers,
}

impl Unnest {
    fn node(&mut self, node: Node) -> Bound<Node> {
        stop::check()?;
        stack::level(|| self.form(node))
    }

    fn form(&mut self, mut node: Node) -> Bound<Node> {
        for input in node.inputs_mut() {
            let whole = std::mem::replace(input, Node::Unit);
            *input = self.node(whole)?;
        }
        let mut nests = false;
        for expr in node.expressions_mut() {
            nests |= self.below(expr)?;
        }
        match node {
            Node::Values { columns, rows } if nests || rows.iter().flatten().any(has_columns) => {
                let rows = united(&columns, rows, &mut self.numbers);
                if nests { self.values_of(rows) } else { Ok(rows) }
            }
            node if nests => self.nested(node),
            node => Ok(node),
        }
    }

    /// Unnests the rows of the subqueries in `expr`. Whether there are any.
    fn below(&mut self, expr: &mut Expr) -> Bound<bool> {
        stop::check()?;
        stack::level(|| {
            let mut nests = false;
            if let Expr::Subquery(subquery) = expr {
                let rows = std::mem::replace(&mut subquery.rows, Node::Unit);
                subquery.rows = self.node(rows)?;
                nests = true;
            }
            for child in expr.children_mut() {
                nests |= self.below(child)?;
            }
            Ok(nests)
        })
    }

    /// Rows of VALUES, each of which is a query by itself.
    fn values_of(&mut self, node: Node) -> Bound<Node> {
        stack::level(|| match node {
            Node::Combine { set, all, left, right, columns } => {
                let left = (Box::new(self.values_of(*left.0)?), left.1);
                let right = (Box::new(self.values_of(*right.0)?), right.1);
                Ok(Node::Combine { set, all, left, right, columns })
            }
            Node::Extend { .. } => self.nested(node),
            node => Ok(node),
        })
    }

    /// A node with subqueries in its own expressions, whose rows have none.
    fn nested(&mut self, node: Node) -> Bound<Node> {
        match node {
            Node::Filter { input, condition } => self.filter(*input, condition),
            Node::Extend { input, mut columns } => {
                let source = self.source(*input, columns.iter_mut().map(|(_, expr)| (expr, false)))?;
                Ok(extend(source, columns))
            }
            Node::Join { kind, left, right, on: Some(on) } => self.join(kind, *left, *right, on),
            Node::Group { input, mut keys, mut aggregates, sets } => {
                let calls = aggregates.iter_mut().flat_map(|(_, call)| {
                    let Aggregate { arguments, filter, order, .. } = call;
                    let is_guarded = filter.is_some();
                    let inside = arguments.iter_mut().chain(order.iter_mut().map(|order| &mut order.by));
                    inside.map(move |expr| (expr, is_guarded)).chain(filter.iter_mut().map(|filter| (filter, false)))
                });
                let keyed = keys.iter_mut().map(|(_, key)| (key, false));
                let input = Box::new(self.source(*input, keyed.chain(calls))?);
                Ok(Node::Group { input, keys, aggregates, sets })
            }
            Node::Window { input, mut calls } => {
                let guarded: Vec<bool> = calls.iter().map(|(_, call)| !sees_own_row(call)).collect();
                let parts = calls.iter_mut().zip(&guarded).flat_map(|((_, call), is_guarded)| {
                    let Window { arguments, filter, partition, order, .. } = call;
                    let others = filter.iter_mut().chain(partition).chain(order.iter_mut().map(|order| &mut order.by));
                    let arguments = arguments.iter_mut().map(|expr| (expr, *is_guarded));
                    arguments.chain(others.map(|expr| (expr, false)))
                });
                let input = Box::new(self.source(*input, parts)?);
                let is_only = |part: &Expr| matches!(part, Expr::Only { .. });
                let mut unseen = calls.iter().zip(guarded).filter(|(_, is_guarded)| *is_guarded);
                if unseen.any(|((_, call), _)| call.arguments.iter().any(|argument| walk::any(argument, &is_only))) {
                    return not_yet("a subquery that may fail in a window function");
                }
                Ok(Node::Window { input, calls })
            }
            Node::DistinctOn { input, mut on, mut order } => {
                let by = order.iter_mut().map(|order| (&mut order.by, false));
                let input = Box::new(self.source(*input, on.iter_mut().map(|expr| (expr, false)).chain(by))?);
                Ok(Node::DistinctOn { input, on, order })
            }
            Node::Sort { input, mut order } => {
                let input = Box::new(self.source(*input, order.iter_mut().map(|order| (&mut order.by, false)))?);
                Ok(Node::Sort { input, order })
            }
            _ => not_yet("a subquery in LIMIT or OFFSET"),
        }
    }

    /// `input` with what the subqueries in `exprs` need; they name it then. Each with whether it is not evaluated for every row.
    fn source<'e>(&mut self, input: Node, exprs: impl IntoIterator<Item = (&'e mut Expr, bool)>) -> Bound<Node> {
        let mut sources = [Source::new(input)];
        for (expr, is_guarded) in exprs {
            self.replace(expr, &mut sources, is_guarded)?;
        }
        let [source] = sources;
        Ok(source.finish())
    }

    /// Conditions without subqueries come first.
    fn filter(&mut self, input: Node, condition: Expr) -> Bound<Node> {
        let (nested, plain): (Vec<Expr>, Vec<Expr>) = conjuncts(condition).into_iter().partition(has_subquery);
        let mut sources = [Source::new(filter(input, plain))];
        for mut part in nested {
            let opposite = matches!(part, Expr::Not(_));
            let whole = match part {
                Expr::Subquery(subquery) => Ok(subquery),
                Expr::Not(inner) => match *inner {
                    Expr::Subquery(subquery) => Ok(subquery),
                    inner => Err(Expr::Not(Box::new(inner))),
                },
                other => Err(other),
            };
            match whole {
                Ok(mut subquery) => {
                    self.prepare(&mut subquery, &mut sources, false)?;
                    condition::condition(*subquery, opposite, &mut sources[0], &mut self.numbers)?;
                }
                Err(other) => {
                    part = other;
                    self.replace(&mut part, &mut sources, false)?;
                    sources[0].filter(part);
                }
            }
        }
        let [source] = sources;
        Ok(source.finish())
    }

    /// Of an outer join a subquery must be of one side: it is computed there.
    fn join(&mut self, kind: Join, left: Node, right: Node, mut on: Expr) -> Bound<Node> {
        if kind == Join::Inner {
            let (nested, plain): (Vec<Expr>, Vec<Expr>) = conjuncts(on).into_iter().partition(has_subquery);
            let both = join(kind, left, right, plain);
            return match make::all(nested) {
                Some(condition) => self.filter(both, condition),
                None => Ok(both),
            };
        }
        let mut sources = [Source::new(left), Source::new(right)];
        self.replace(&mut on, &mut sources, false)?;
        let [left, right] = sources;
        Ok(join(kind, left.finish(), right.finish(), conjuncts(on)))
    }

    /// Puts values in the place of the subqueries in `expr`.
    fn replace(&mut self, expr: &mut Expr, sources: &mut [Source], is_guarded: bool) -> Bound<()> {
        stop::check()?;
        stack::level(|| {
            if let Expr::Subquery(subquery) = expr {
                let at = self.prepare(subquery, sources, is_guarded)?;
                let whole = std::mem::replace(expr, make::truth(true));
                if let (Expr::Subquery(subquery), Some(source)) = (whole, sources.get_mut(at)) {
                    *expr = value::value(*subquery, source, &mut self.numbers)?;
                }
                return Ok(());
            }
            // The first that are always evaluated.
            let certain = match expr {
                Expr::Case { operand: Some(_), .. } => 2,
                Expr::Case { .. } | Expr::Coalesce { .. } => 1,
                _ => usize::MAX,
            };
            for (at, child) in expr.children_mut().into_iter().enumerate() {
                self.replace(child, sources, is_guarded || at >= certain)?;
            }
            Ok(())
        })
    }

    /// Replaces the subqueries in the comparison of one, and tells of which of `sources` it is.
    fn prepare(&mut self, subquery: &mut Subquery, sources: &mut [Source], is_guarded: bool) -> Bound<usize> {
        if is_guarded && risk::can_fail_below(&subquery.rows) {
            return not_yet("a subquery that may fail where it is not always evaluated");
        }
        if risk::has_volatile(&subquery.rows) {
            return not_yet("a function of chance in a subquery");
        }
        let own: Names = subquery.columns.iter().map(|(id, _)| *id).collect();
        if let Form::Any(comparison) | Form::All(comparison) = &mut subquery.form {
            check(comparison, &own)?;
            self.replace(comparison, sources, is_guarded)?;
        }
        let mut named = walk::free(&subquery.rows);
        if let Form::Any(comparison) | Form::All(comparison) = &subquery.form {
            walk::add_named(comparison, &mut named);
        }
        let outer: Vec<ColumnId> =
            named.into_keys().filter(|id| sources.iter().any(|source| source.has(*id))).collect();
        match sources.iter().position(|source| outer.iter().all(|id| source.has(*id))) {
            Some(at) => Ok(at),
            None => not_yet("a subquery over both sides of an outer join"),
        }
    }
}

/// Whether a window function's arguments are evaluated for every row: each row sees itself.
fn sees_own_row(Window { function, filter, frame, .. }: &Window) -> bool {
    let begins = !matches!(frame.start, Edge::Following(_) | Edge::UnboundedFollowing);
    let ends = !matches!(frame.end, Edge::Preceding(_) | Edge::UnboundedPreceding);
    function.kind == functions::Kind::Aggregate && filter.is_none() && begins && ends
}

/// What cannot be evaluated beside the rows of a subquery.
fn check(comparison: &Expr, own: &Names) -> Bound<()> {
    if risk::is_volatile(comparison) {
        return not_yet("a function of chance in a comparison with a subquery");
    }
    if walk::any(comparison, &|part| matches!(part, Expr::Operand { .. })) {
        return not_yet("a subquery as an operand of CASE");
    }
    let depends = |part: &Expr| match part {
        Expr::Subquery(subquery) => {
            let compared = subquery.form.comparison().is_some_and(|comparison| names_any(comparison, own));
            compared || walk::free(&subquery.rows).keys().any(|id| own.contains(id))
        }
        _ => false,
    };
    match walk::any(comparison, &depends) {
        true => not_yet("a subquery that depends on another one's rows"),
        false => Ok(()),
    }
}

fn has_columns(expr: &Expr) -> bool {
    walk::any(expr, &|part| matches!(part, Expr::Column { .. }))
}

/// Rows of VALUES as those of queries without FROM.
fn united(columns: &[(ColumnId, Kind)], mut rows: Vec<Vec<Expr>>, numbers: &mut Numbers) -> Node {
    if rows.len() < 2 {
        let row = rows.pop().unwrap_or_default();
        return extend(Node::Unit, columns.iter().map(|(id, _)| *id).zip(row).collect());
    }
    let rest = rows.split_off(rows.len() / 2);
    let mut side = |rows: Vec<Vec<Expr>>| {
        let own: Vec<(ColumnId, Kind)> = columns.iter().map(|(_, kind)| (numbers.column(), *kind)).collect();
        let node = united(&own, rows, numbers);
        (Box::new(node), own.into_iter().map(|(id, _)| id).collect())
    };
    let (left, right) = (side(rows), side(rest));
    Node::Combine { set: Set::Union, all: true, left, right, columns: columns.to_vec() }
}
