//! SELECT: its list, and its clauses in the order in which PostgreSQL reads them, which is not the one in which they are carried out.

use super::Binder;
use super::expression::Place;
use super::group::{Call, Groups};
use super::keys::Having;
use super::order::{By, Tail};
use super::position::{self, located, placed};
use super::rows::{Input, Rows};
use super::scope::{Named, Scope};
use super::targets::Target;
use super::window::over_windows;
use crate::bound::{Bound, Expr, Mode, Node, Order, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::functions::Kind;
use crate::session::names::folded;
use datafusion::sql::sqlparser::ast::{
    self, Distinct, GroupByExpr, Ident, NamedWindowDefinition, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, TableWithJoins, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// The clauses that PostgreSQL has.
pub struct Clauses<'q> {
    pub list: &'q [SelectItem],
    pub distinct: Option<&'q Distinct>,
    pub from: &'q [TableWithJoins],
    pub condition: Option<&'q ast::Expr>,
    pub group: &'q GroupByExpr,
    pub having: Option<&'q ast::Expr>,
    pub windows: &'q [NamedWindowDefinition],
}

/// Which rows are told apart.
enum Differing {
    All,
    /// Those that differ in what is shown.
    Shown,
    /// Those that differ in these targets.
    On(Vec<usize>),
}

/// Aggregates that show in which order their rows came.
const COLLECTING: &[&str] = &[
    "array_agg",
    "json_agg",
    "json_agg_strict",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "string_agg",
    "xmlagg",
];

impl<'q> Clauses<'q> {
    /// Of a SELECT that has no others.
    pub fn of(select: &'q Select) -> Bound<Self> {
        let Select {
            select_token: _,
            // Comments.
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let others = [
            (select_modifiers.is_some(), "modifiers of SELECT"),
            (top.is_some(), "TOP"),
            (exclude.is_some(), "EXCLUDE"),
            (into.is_some(), "SELECT INTO"),
            (!lateral_views.is_empty(), "LATERAL VIEW"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY"),
            (!cluster_by.is_empty(), "CLUSTER BY"),
            (!distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!sort_by.is_empty(), "SORT BY"),
            (qualify.is_some(), "QUALIFY"),
            (value_table_mode.is_some(), "SELECT AS"),
            (*flavor != SelectFlavor::Standard, "FROM before SELECT"),
            (projection.is_empty(), "SELECT without columns"),
        ];
        if let Some((_, what)) = others.iter().find(|(is_there, _)| *is_there) {
            return not_yet(*what);
        }
        Ok(Self {
            list: projection,
            distinct: distinct.as_ref(),
            from,
            condition: selection.as_ref(),
            group: group_by,
            having: having.as_ref(),
            windows: named_window,
        })
    }
}

impl Binder<'_> {
    /// A SELECT, and what stands after it.
    pub fn select<'q>(&mut self, clauses: &Clauses<'q>, tail: &Tail<'q>) -> Bound<Rows> {
        let list = self.list.take();
        let Input { mut node, scope, order: came } = self.from(clauses.from)?;
        let mut groups = Groups { named: clauses.windows.into(), ..Groups::default() };
        let mut targets = self.select_list(clauses.list, list, &scope, &mut groups)?;
        if let Some(condition) = clauses.condition {
            let condition = self.condition(condition, &mut Place { scope: &scope, clause: "WHERE", groups: None })?;
            node = Node::Filter { input: Box::new(node), condition };
        }
        let having = match clauses.having {
            Some(syntax) => {
                let mut place = Place { scope: &scope, clause: "HAVING", groups: Some(&mut groups) };
                Some(Having { syntax, condition: self.condition(syntax, &mut place)? })
            }
            None => None,
        };
        let mut place = Place { scope: &scope, clause: "ORDER BY", groups: Some(&mut groups) };
        let by = self.sort_by(tail.order, &mut targets, &mut place)?;
        let keys = self.group_by(clauses.group, &mut targets, &groups, &scope)?;
        let differing = self.differing(clauses.distinct, &mut targets, &by, &scope, &mut groups)?;
        let limit = self.limit(tail, &scope)?;
        self.named_windows(&scope, &mut groups)?;

        let is_grouped = keys.is_some() || having.is_some() || !groups.aggregates.is_empty();
        check_used(&groups, is_grouped)?;
        let (node, calls, came) = match is_grouped {
            true => {
                in_order(&mut groups, &came);
                let keys = keys.unwrap_or_default();
                let (node, calls) = self.grouped(node, keys, groups, &mut targets, having, &scope)?;
                (node, calls, vec![])
            }
            false => {
                let came = after_windows(&groups.windows, came)?;
                (node, groups.windows, came)
            }
        };
        let node = over_windows(node, calls);
        let values = targets.iter_mut().map(|target| &mut target.value);
        let node = self.own(node, values, |id| !scope.is_around(id));
        let mut order: Vec<Order> = by.iter().map(|by| by.order(&targets)).collect();
        let node = match differing {
            Differing::All => {
                if order.is_empty() {
                    order = came;
                }
                node
            }
            Differing::Shown => distinct(node, &targets),
            Differing::On(on) => {
                let on = on.into_iter().map(|target| targets[target].value.clone()).collect();
                let order = if order.is_empty() { came } else { order.clone() };
                Node::DistinctOn { input: Box::new(node), on, order }
            }
        };
        let items = targets.into_iter().filter_map(Target::item).collect();
        Ok(Rows { node, items, order, is_sorted: false }.limited(limit))
    }

    fn select_list<'q>(
        &mut self,
        list: &'q [SelectItem],
        clause: Option<&'static str>,
        scope: &Scope,
        groups: &mut Groups,
    ) -> Bound<Vec<Target<'q>>> {
        let mut targets = vec![];
        for item in list {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } if !is_test(alias) => (expr, Some(folded(alias))),
                SelectItem::ExprWithAlias { alias, .. } => return not_yet(alias.value.to_uppercase()),
                SelectItem::ExprWithAliases { .. } => return not_yet("several names of a column"),
                SelectItem::Wildcard(options) => {
                    let position = position::at(plain(options)?);
                    if scope.relations.is_empty() {
                        let error = Error::syntax("SELECT * with no tables specified is not valid");
                        return Err(Unbound::Wrong(placed(error, position)));
                    }
                    let shown = scope.relations.iter().filter(|relation| relation.is_shown);
                    shown.for_each(|relation| targets.extend(columns(relation, position)));
                    continue;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    plain(options)?;
                    let words: Option<Vec<Ident>> = name.0.iter().map(|part| part.as_ident().cloned()).collect();
                    let Some(words) = words else { return not_yet("this form of *") };
                    let (relation, position) = (scope.relation(&words)?, position::of_name(name));
                    relation.columns.iter().for_each(|column| self.named_outward(&column.value, None, scope));
                    targets.extend(columns(relation, position));
                    continue;
                }
                SelectItem::QualifiedWildcard(..) => return not_yet("* of an expression"),
            };
            let mut place = match clause {
                Some(clause) => Place { scope, clause, groups: None },
                None => Place { scope, clause: "SELECT", groups: Some(groups) },
            };
            let value = self.expression(expr, &mut place)?;
            let name = name.unwrap_or_else(|| self.name_of(expr));
            let (syntax, position) = (Some(expr), position::of(expr));
            targets.push(Target { name, value, syntax, position, is_shown: true });
        }
        Ok(targets)
    }

    /// DISTINCT: what it tells apart has to be what rows are sorted by first.
    fn differing<'q>(
        &mut self,
        distinct: Option<&'q Distinct>,
        targets: &mut Vec<Target<'q>>,
        order: &[By],
        scope: &Scope,
        groups: &mut Groups,
    ) -> Bound<Differing> {
        let wrong = |text: &str, position| Err(Unbound::Wrong(placed(Error::new("42P10", text), position)));
        match distinct {
            None | Some(Distinct::All) => Ok(Differing::All),
            Some(Distinct::Distinct) => {
                let hidden = order.iter().map(|by| &targets[by.target]).find(|target| !target.is_shown);
                if let Some(target) = hidden {
                    let is_shown = |other: &Target| other.is_shown && other.value.has_subquery();
                    if target.value.has_subquery() && targets.iter().any(is_shown) {
                        return not_yet("ORDER BY a subquery in SELECT DISTINCT");
                    }
                    let text = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return wrong(text, target.position);
                }
                for target in targets.iter_mut().filter(|target| target.is_shown) {
                    target.value = self.settled(target.value.clone())?;
                    self.groupable(target.value.kind()).map_err(|why| located(why, target.position))?;
                }
                Ok(Differing::Shown)
            }
            Some(Distinct::On(exprs)) => {
                let mut on = vec![];
                for expr in exprs {
                    let mut place = Place { scope, clause: "DISTINCT ON", groups: Some(groups) };
                    let target = self.target(expr, targets, &mut place)?;
                    self.groupable(targets[target].value.kind()).map_err(|why| located(why, position::of(expr)))?;
                    on.push(target);
                }
                match unsorted(&on, order) {
                    // Those that PostgreSQL takes for equal are not equal here.
                    Some(_) if targets.iter().any(|target| target.value.has_subquery()) => {
                        not_yet("DISTINCT ON and ORDER BY of subqueries")
                    }
                    Some(at) => {
                        let text = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
                        wrong(text, position::of(&exprs[at]))
                    }
                    None => Ok(Differing::On(on)),
                }
            }
        }
    }
}

/// The place of one of `on` that rows are sorted by after something else, or not at all though by something else.
fn unsorted(on: &[usize], order: &[By]) -> Option<usize> {
    let is_on = |by: &&By| on.contains(&by.target);
    let first = order.iter().take_while(is_on).count();
    let (first, others) = order.split_at(first);
    let late = others.iter().find(is_on).and_then(|by| on.iter().position(|target| *target == by.target));
    let missing = || on.iter().position(|target| first.iter().all(|by| by.target != *target));
    if others.is_empty() { None } else { late.or_else(missing) }
}

/// NotYet of windows that nobody uses though they say something of groups.
fn check_used(groups: &Groups, is_grouped: bool) -> Bound<()> {
    match is_grouped && groups.used.len() < groups.named.len() {
        true => not_yet("WINDOW that is not used"),
        false => Ok(()),
    }
}

/// The order in which rows come, `came`, once there are window functions over them. NotYet of those that show it.
fn after_windows(calls: &[Call], came: Vec<Order>) -> Bound<Vec<Order>> {
    let shows = |Call { window, .. }: &Call| {
        let by_place = window.function.kind == Kind::Window || COLLECTING.contains(&window.function.name);
        window.order.is_empty() && (by_place || window.frame.mode == Mode::Rows)
    };
    if !came.is_empty() && calls.iter().any(shows) {
        return not_yet("window functions of rows in the order of a subquery");
    }
    let sorts = |Call { window, .. }: &Call| !window.order.is_empty() || !window.partition.is_empty();
    Ok(if calls.iter().any(sorts) { vec![] } else { came })
}

/// Aggregates that collect their rows take them in the order in which they come, unless they say another one.
fn in_order(groups: &mut Groups, came: &[Order]) {
    for (_, aggregate) in &mut groups.aggregates {
        let collects = COLLECTING.contains(&aggregate.function.name);
        if collects && !aggregate.distinct && aggregate.order.is_empty() {
            aggregate.order = came.to_vec();
        }
    }
}

fn distinct(node: Node, targets: &[Target]) -> Node {
    let mut columns = vec![];
    for target in targets.iter().filter(|target| target.is_shown) {
        if let Expr::Column { id, kind } = target.value
            && !columns.contains(&(id, kind))
        {
            columns.push((id, kind));
        }
    }
    Node::Distinct { input: Box::new(node), columns }
}

fn columns<'q>(relation: &Named, position: Option<usize>) -> impl Iterator<Item = Target<'q>> {
    relation.columns.iter().map(move |column| Target {
        name: column.name.clone(),
        value: column.value.clone(),
        syntax: None,
        position,
        is_shown: true,
    })
}

/// The parser takes the operators for names.
fn is_test(alias: &Ident) -> bool {
    alias.quote_style.is_none() && ["isnull", "notnull"].contains(&folded(alias).as_str())
}

/// Where a `*` stands that says nothing else.
fn plain(options: &WildcardAdditionalOptions) -> Bound<Span> {
    let WildcardAdditionalOptions {
        wildcard_token,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let is_foreign = opt_ilike.is_some() || opt_exclude.is_some() || opt_except.is_some();
    if is_foreign || opt_replace.is_some() || opt_rename.is_some() || opt_alias.is_some() {
        return not_yet("* with exceptions");
    }
    Ok(wildcard_token.0.span)
}
