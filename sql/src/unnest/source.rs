//! A node's input, and what is joined with it for the node's subqueries.

use super::domain::{self, Domain};
use super::lift::{Computed, Lifted, grouped, lift, resolved};
use super::make::{self, Numbers, conjuncts, extend, filter, join};
use super::walk::{self, Names};
use crate::bound::{Bound, ColumnId, Expr, Join, Node};
use crate::postgres::types::BOOL;
use crate::stack;

pub struct Source {
    base: Node,
    /// Of the base.
    own: Names,
    /// Of what was joined with it so that each row stays one row.
    added: Names,
    steps: Vec<Step>,
}

enum Step {
    Join(Join, Node, Vec<Expr>),
    Extend(Vec<(ColumnId, Expr)>),
    Filter(Expr),
}

/// The rows of a subquery beside those of a source: pairs belong together where all of `on` is true.
#[derive(Clone)]
pub struct Pairs {
    pub rows: Node,
    pub on: Vec<Expr>,
    /// Columns of pairs.
    pub computed: Computed,
    /// As of [`Lifted`].
    pub asked: bool,
}

impl Pairs {
    pub fn lifted(self) -> Lifted {
        let Self { rows, on, computed, asked } = self;
        Lifted { rows, on, computed, unsorted: false, asked }
    }
}

/// A subquery of at most one row: of every row of a source one that is there where all of `when` is true.
pub struct Single {
    pub when: Vec<Expr>,
    pub computed: Computed,
}

impl Source {
    pub fn new(base: Node) -> Self {
        Self { own: walk::columns(&base), base, added: Names::new(), steps: vec![] }
    }

    pub fn base(&self) -> &Node {
        &self.base
    }

    pub fn has(&self, id: ColumnId) -> bool {
        self.own.contains(&id) || self.added.contains(&id)
    }

    /// The base with all that was joined with it.
    pub fn finish(self) -> Node {
        self.steps.into_iter().fold(self.base, |node, step| match step {
            Step::Join(kind, right, on) => join(kind, node, right, on),
            Step::Extend(columns) => extend(node, columns),
            Step::Filter(condition) => filter(node, vec![condition]),
        })
    }

    /// Rows for which `condition` is true.
    pub fn filter(&mut self, condition: Expr) {
        self.steps.push(Step::Filter(condition));
    }

    /// The kind must leave each row one row, unless the source is a condition's.
    pub fn join(&mut self, kind: Join, right: Node, on: Vec<Expr>) {
        self.added.extend(match kind {
            Join::Semi | Join::Anti => Names::new(),
            Join::Mark(mark) => [mark].into(),
            _ => walk::columns(&right),
        });
        self.steps.push(Step::Join(kind, right, on));
    }

    pub fn extend(&mut self, columns: Vec<(ColumnId, Expr)>) {
        self.added.extend(columns.iter().map(|(id, _)| *id));
        self.steps.push(Step::Extend(columns));
    }

    /// Whether it has a match, as a column.
    pub fn mark(&mut self, right: Node, on: Vec<Expr>, numbers: &mut Numbers) -> Expr {
        let mark = numbers.column();
        self.join(Join::Mark(mark), right, on);
        make::column(mark, BOOL.into())
    }

    /// The rows of a subquery beside those of this source.
    pub fn pairs(&self, rows: &Node, numbers: &mut Numbers) -> Bound<Pairs> {
        match lift(rows, &self.own, numbers)? {
            Some(Lifted { rows, on, computed, asked, .. }) => Ok(Pairs { rows, on, computed, asked }),
            None => self.dependent(rows, numbers),
        }
    }

    /// The same by the domain of outer values: all conditions are that these are alike.
    pub fn dependent(&self, rows: &Node, numbers: &mut Numbers) -> Bound<Pairs> {
        let outer = domain::outer(walk::free(rows), &self.base);
        let mut domain = Domain::new(&self.base, outer, rows, numbers)?;
        let (rows, values) = domain.rows(rows.clone())?;
        Ok(Pairs { on: domain.matches(&values)?, rows, computed: Computed::new(), asked: true })
    }

    /// Whether [`Source::single`] joins `rows`.
    pub fn is_single(&self, rows: &Node) -> bool {
        peeled(rows).is_some()
    }

    /// If `rows` is one row, or none where a condition is not true, whatever there is: joins that row with this source.
    pub fn single(&mut self, rows: &Node, numbers: &mut Numbers) -> Bound<Option<Single>> {
        let Some((base, single)) = peeled(rows) else { return Ok(None) };
        if let Node::Group { input, keys, aggregates, .. } = base {
            let lifted = lift(input, &self.own, numbers)?;
            match lifted.and_then(|below| grouped(below, keys, aggregates, &self.own, numbers)) {
                Some(Lifted { rows, on, .. }) => self.join_groups(rows, on, numbers)?,
                None => {
                    let Pairs { rows, on, .. } = self.dependent(base, numbers)?;
                    self.join(Join::Inner, rows, on);
                }
            }
        }
        Ok(Some(single))
    }

    /// Groups, of which a row finds one at most: without keys one, always. What counts is 0 where there is none.
    pub fn join_groups(&mut self, mut groups: Node, on: Vec<Expr>, numbers: &mut Numbers) -> Bound<()> {
        if on.is_empty() {
            self.join(Join::Inner, groups, on);
            return Ok(());
        }
        let counts = match &mut groups {
            Node::Group { aggregates, .. } => domain::of_nothing(aggregates, numbers)?,
            _ => vec![],
        };
        self.join(Join::Left, groups, on);
        self.extend(counts);
        Ok(())
    }
}

/// What one row is made of, if it is one: an aggregate of all rows, or nothing; and what is done with that row.
fn peeled(rows: &Node) -> Option<(&Node, Single)> {
    stack::level(|| peel(rows))
}

fn peel(rows: &Node) -> Option<(&Node, Single)> {
    match rows {
        Node::Unit => Some((rows, Single { when: vec![], computed: Computed::new() })),
        Node::Group { keys, sets: None, .. } if keys.is_empty() => {
            Some((rows, Single { when: vec![], computed: Computed::new() }))
        }
        Node::Filter { input, condition } => {
            let (base, mut single) = peeled(input)?;
            for part in conjuncts(condition.clone()) {
                single.when.push(resolved(&part, &single.computed)?);
            }
            Some((base, single))
        }
        Node::Extend { input, columns } => {
            let (base, mut single) = peeled(input)?;
            let mut own = vec![];
            for (id, expr) in columns {
                own.push((*id, resolved(expr, &single.computed)?));
            }
            single.computed.extend(own);
            Some((base, single))
        }
        Node::Sort { input, .. } | Node::Distinct { input, .. } | Node::DistinctOn { input, .. } => peeled(input),
        Node::Limit { input, skip, fetch } => {
            if domain::keeps_one(skip.as_ref(), fetch.as_ref()) {
                peeled(input)
            } else {
                None
            }
        }
        _ => None,
    }
}
