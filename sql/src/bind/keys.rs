//! GROUP BY and HAVING.

use super::Binder;
use super::expression::Place;
use super::form::bare;
use super::group::{Call, Grouped, Groups, Ungrouped};
use super::occurrence;
use super::position::{self, located, placed};
use super::scope::Scope;
use super::targets::Target;
use crate::bound::{Bound, Expr, Node, Unbound, not_yet};
use crate::error::Error;
use crate::session::names::folded;
use crate::stop;
use datafusion::sql::sqlparser::ast::{self, GroupByExpr};

/// PostgreSQL's own limit.
const SETS: usize = 4096;
/// Likewise of the elements of a CUBE.
const ELEMENTS: usize = 12;
/// Keys of all grouping sets together, at most: each names its own.
const KEYS: usize = 100_000;

/// What rows are grouped by.
#[derive(Default)]
pub struct Keys {
    /// Places of targets.
    pub targets: Vec<usize>,
    /// Of each grouping set the places of its keys; `None`: one set of all.
    pub sets: Option<Vec<Vec<usize>>>,
}

/// A condition on groups, as it is written and as it is bound.
pub struct Having<'q> {
    pub syntax: &'q ast::Expr,
    pub condition: Expr,
}

/// What GROUP BY reads, and the keys that it has found.
struct Reader<'r, 'q> {
    targets: &'r mut Vec<Target<'q>>,
    groups: &'r Groups,
    scope: &'r Scope,
    keys: Vec<usize>,
}

impl Binder<'_> {
    /// `None` without GROUP BY.
    pub fn group_by<'q>(
        &mut self,
        by: &'q GroupByExpr,
        targets: &mut Vec<Target<'q>>,
        groups: &Groups,
        scope: &Scope,
    ) -> Bound<Option<Keys>> {
        let GroupByExpr::Expressions(list, modifiers) = by else { return not_yet("GROUP BY ALL") };
        if !modifiers.is_empty() {
            return not_yet("modifiers of GROUP BY");
        }
        if list.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader { targets, groups, scope, keys: vec![] };
        let (mut sets, mut is_one) = (vec![vec![]], true);
        for element in list {
            let more = match element {
                ast::Expr::GroupingSets(list) => self.grouping_sets(list, &mut reader)?,
                ast::Expr::Rollup(list) => beginnings(&self.grouping_elements(list, &mut reader)?)?,
                ast::Expr::Cube(list) => subsets(&self.grouping_elements(list, &mut reader)?)?,
                ast::Expr::Tuple(list) if list.is_empty() => vec![vec![]],
                expr => vec![self.grouping_set(std::slice::from_ref(expr), &mut reader)?],
            };
            is_one &= more.len() == 1;
            sets = product(&sets, &more)?;
        }
        let keys = reader.keys;
        is_one &= sets.iter().all(|set| set.len() == keys.len());
        let has_column = |key: &usize| reader.targets[*key].value.any(&|part| matches!(part, Expr::Column { .. }));
        if !is_one && !keys.iter().all(has_column) {
            // PostgreSQL takes some of those that are equal for the key, and others not.
            return not_yet("grouping sets of what names no column");
        }
        if !is_one && keys.iter().any(|key| reader.targets[*key].value.has_subquery()) {
            // Of those that say the same PostgreSQL takes one for the other.
            return not_yet("grouping sets of subqueries");
        }
        Ok(Some(Keys { targets: keys, sets: (!is_one).then_some(sets) }))
    }

    fn grouping_sets<'q>(&mut self, list: &'q [Vec<ast::Expr>], reader: &mut Reader<'_, 'q>) -> Bound<Vec<Vec<usize>>> {
        list.iter().map(|set| self.grouping_set(set, reader)).collect()
    }

    /// Those of a ROLLUP or a CUBE, none of which is empty.
    fn grouping_elements<'q>(
        &mut self,
        list: &'q [Vec<ast::Expr>],
        reader: &mut Reader<'_, 'q>,
    ) -> Bound<Vec<Vec<usize>>> {
        match list.iter().any(Vec::is_empty) {
            true => not_yet("() within ROLLUP or CUBE"),
            false => self.grouping_sets(list, reader),
        }
    }

    /// A set of keys, which may be written in parentheses, some or all.
    fn grouping_set<'q>(&mut self, list: &'q [ast::Expr], reader: &mut Reader<'_, 'q>) -> Bound<Vec<usize>> {
        let mut set = vec![];
        for expr in list {
            match bare(expr) {
                ast::Expr::Tuple(list) if !list.is_empty() => set.extend(self.grouping_set(list, reader)?),
                ast::Expr::Tuple(_) | ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_) => {
                    return not_yet("nested grouping sets");
                }
                ast::Expr::Function(function) if is_sets(&function.name) => return not_yet("nested grouping sets"),
                expr => set.push(self.group_key(expr, reader)?),
            }
        }
        Ok(distinct(set))
    }

    /// The place of a key.
    fn group_key<'q>(&mut self, expr: &'q ast::Expr, reader: &mut Reader<'_, 'q>) -> Bound<usize> {
        let mut place = Place { scope: reader.scope, clause: "GROUP BY", groups: None };
        let target = self.target(expr, reader.targets, &mut place)?;
        let Target { value, syntax, .. } = &reader.targets[target];
        if reader.groups.are_in(value) {
            let error = Error::new("42803", "aggregate functions are not allowed in GROUP BY");
            return Err(Unbound::Wrong(placed(error, syntax.and_then(occurrence::first_aggregate))));
        }
        if reader.groups.windows_are_in(value) {
            let error = Error::new("42P20", "window functions are not allowed in GROUP BY");
            return Err(Unbound::Wrong(placed(error, syntax.and_then(occurrence::first_window))));
        }
        self.groupable(value.kind()).map_err(|why| located(why, position::of(expr)))?;
        let place = reader.keys.iter().position(|key| *key == target);
        Ok(place.unwrap_or_else(|| {
            reader.keys.push(target);
            reader.keys.len() - 1
        }))
    }

    /// The groups of `node`'s rows for which HAVING is true, and the window functions over them. `targets` are over these from then on;
    /// what is neither key nor aggregate in them is 42803.
    pub fn grouped(
        &mut self,
        node: Node,
        keys: Keys,
        mut groups: Groups,
        targets: &mut [Target],
        having: Option<Having>,
        scope: &Scope,
    ) -> Bound<(Node, Vec<Call>)> {
        let Keys { targets: places, sets } = keys;
        let keys: Vec<_> = places.iter().map(|place| (self.column(), targets[*place].value.clone())).collect();
        // A subquery is not equal to its copy among the keys.
        for (place, (id, key)) in places.iter().zip(&keys).filter(|(_, (_, key))| key.has_subquery()) {
            targets[*place].value = Expr::Column { id: *id, kind: key.kind() };
        }
        let mut calls = std::mem::take(&mut groups.windows);
        let mut grouped = Grouped { keys, sets, groups, scope, columns: scope.columns() };
        for Target { value, syntax, position, .. } in &*targets {
            self.make_grouped(&mut grouped, value, *syntax, *position)?;
        }
        for Call { window, syntax, .. } in &calls {
            for (part, syntax) in window.parts().zip(syntax) {
                self.make_grouped(&mut grouped, part, Some(syntax), None)?;
            }
        }
        if let Some(Having { syntax, condition }) = &having {
            self.make_grouped(&mut grouped, condition, Some(syntax), None)?;
        }
        targets.iter_mut().for_each(|target| grouped.replace(&mut target.value));
        calls.iter_mut().flat_map(|call| call.window.parts_mut()).for_each(|part| grouped.replace(part));
        let condition = having.map(|Having { mut condition, .. }| {
            grouped.replace(&mut condition);
            condition
        });
        let Grouped { keys, sets, groups, .. } = grouped;
        let node = Node::Group { input: Box::new(node), keys, aggregates: groups.aggregates, sets };
        let node = match condition {
            Some(condition) => Node::Filter { input: Box::new(node), condition },
            None => node,
        };
        Ok((node, calls))
    }

    /// Makes keys of columns in `value` that are the same in all rows of a group.
    fn make_grouped(
        &mut self,
        grouped: &mut Grouped,
        value: &Expr,
        syntax: Option<&ast::Expr>,
        position: Option<usize>,
    ) -> Bound<()> {
        while let Some(Ungrouped { id, kind, is_within }) = grouped.ungrouped(value) {
            stop::check()?;
            match grouped.depends(id)? {
                true => {}
                false if grouped.may_be_key(value) => return not_yet("a subquery in GROUP BY and elsewhere"),
                false if is_within => {
                    let position = syntax.and_then(|syntax| self.outward_place(id, syntax));
                    return Err(grouped.wrong_within(id, value, position));
                }
                false => return Err(grouped.wrong(id, value, syntax, position)),
            }
            if self.groupable(kind).is_err() {
                return not_yet(format!("a column of type {kind} that depends on a key"));
            }
            grouped.add(self.column(), Expr::Column { id, kind });
        }
        Ok(())
    }
}

/// A function in the tree, grouping sets in what was written.
fn is_sets(name: &ast::ObjectName) -> bool {
    let name = name.0.last().and_then(|part| part.as_ident()).filter(|name| name.quote_style.is_none());
    name.is_some_and(|name| ["cube", "grouping", "rollup"].contains(&folded(name).as_str()))
}

fn distinct(set: Vec<usize>) -> Vec<usize> {
    let mut kept = vec![];
    for key in set {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}

/// Each of one with each of the other.
fn product(sets: &[Vec<usize>], more: &[Vec<usize>]) -> Bound<Vec<Vec<usize>>> {
    let count = sets.len().saturating_mul(more.len());
    fit(count, keys(sets).saturating_mul(more.len()).saturating_add(keys(more).saturating_mul(sets.len())))?;
    let pairs = sets.iter().flat_map(|set| more.iter().map(move |other| (set, other)));
    let joined = |(set, other): (&Vec<usize>, &Vec<usize>)| {
        let mut joined = set.clone();
        joined.extend(distinct(other.clone()).into_iter().filter(|key| !set.contains(key)));
        joined
    };
    Ok(pairs.map(joined).collect())
}

fn keys(sets: &[Vec<usize>]) -> usize {
    sets.iter().map(Vec::len).sum()
}

/// Whether so many grouping sets with so many keys in all are not too many.
fn fit(sets: usize, keys: usize) -> Bound<()> {
    if sets > SETS || sets > 1 && keys > KEYS { not_yet("so many grouping sets") } else { Ok(()) }
}

/// What ROLLUP is: all elements, then all but the last one, and at last none.
fn beginnings(elements: &[Vec<usize>]) -> Bound<Vec<Vec<usize>>> {
    fit(elements.len() + 1, keys(elements).saturating_mul(elements.len()))?;
    Ok((0..=elements.len()).rev().map(|count| elements[..count].concat()).collect())
}

fn subsets(elements: &[Vec<usize>]) -> Bound<Vec<Vec<usize>>> {
    if elements.len() > ELEMENTS {
        return not_yet("so many elements of CUBE");
    }
    fit(1 << elements.len(), keys(elements) << elements.len())?;
    let subset = |mask: usize| {
        let chosen = elements.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
        chosen.flat_map(|(_, element)| element.clone()).collect()
    };
    Ok((0..1 << elements.len()).rev().map(subset).collect())
}
