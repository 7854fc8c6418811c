//! Random statements with parameters. Nothing here knows a server: a statement is a tree of SQL that PostgreSQL mostly takes.

use super::grammar::{AGGREGATES, CLASSES, EXPRESSIONS, KINDS, Kind, TABLES};
use super::tree::{Node, Role};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::LazyLock;

/// Of a type.
type Name = &'static str;

/// Of expressions in each other.
const DEPTH: usize = 2;
/// Of queries in each other.
const NESTING: usize = 2;

struct Template {
    result: Name,
    text: &'static str,
}

/// Of expressions and of aggregates.
static TEMPLATES: LazyLock<[Vec<Template>; 2]> = LazyLock::new(|| [EXPRESSIONS, AGGREGATES].map(templates));

fn templates(table: &'static str) -> Vec<Template> {
    let lines = table.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(result, text)| Template { result, text: text.trim() }).collect()
}

fn kind(name: Name) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).expect("a type's name")
}

/// The types of a class, or the one type.
fn members(word: Name) -> Vec<Name> {
    match CLASSES.iter().find(|(name, _)| *name == word) {
        Some((_, members)) => members.to_vec(),
        None if word == "any" => KINDS.iter().map(|kind| kind.name).collect(),
        None => vec![kind(word).name],
    }
}

/// Types that have a common one with this.
fn family(of: Name) -> Vec<Name> {
    ["number", "string", "moment"].map(members).into_iter().find(|all| all.contains(&of)).unwrap_or_else(|| vec![of])
}

/// What an expression may name.
#[derive(Clone)]
struct Column {
    node: Node,
    kind: Name,
    /// As USING names it; empty of what has no name.
    name: String,
}

impl Column {
    fn of(relation: &str, name: &str, kind: Name) -> Self {
        Self { node: Node::atom(format!("{relation}{name}")), kind, name: name.to_string() }
    }
}

/// SELECT, VALUES or a set operation, and the types of its columns.
struct Body {
    node: Node,
    kinds: Vec<Name>,
}

/// A statement with one parameter at least.
pub fn statement(random: &mut StdRng) -> Node {
    loop {
        let mut generator = Generator { random: &mut *random, parameters: 0, names: 0, ctes: vec![] };
        let node = generator.whole();
        if !node.parameters().is_empty() {
            return node;
        }
    }
}

struct Generator<'a> {
    random: &'a mut StdRng,
    parameters: usize,
    names: usize,
    ctes: Vec<(String, Vec<Name>)>,
}

impl Generator<'_> {
    // Small decisions.

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn up_to(&mut self, most: usize) -> usize {
        self.random.random_range(1..=most)
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        *values.choose(self.random).expect("there are some")
    }

    fn fresh(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn kind(&mut self, word: Name) -> Name {
        self.one_of(&members(word))
    }

    // Queries.

    fn whole(&mut self) -> Node {
        let ctes = if self.chance(0.1) { self.with() } else { Node::text("") };
        let body = if self.chance(0.06) { self.star() } else { self.body(None, 0).node };
        Node::row(Role::Query, [ctes, body])
    }

    fn with(&mut self) -> Node {
        let body = self.body(None, 1);
        // A name of its own, or a table's.
        let name = if self.chance(0.2) { "t".to_string() } else { self.fresh('q') };
        let head = format!("WITH {name} ({}) AS (", listed(body.kinds.len()));
        self.ctes.push((name, body.kinds));
        Node::row(Role::Optional, [Node::text(head), body.node, Node::text(") ")])
    }

    fn body(&mut self, wanted: Option<&[Name]>, nesting: usize) -> Body {
        match self.random.random_range(0..14) {
            0..6 => self.plain(wanted, nesting),
            6..10 => self.grouped(wanted, nesting),
            10 | 11 if nesting < NESTING => self.combined(wanted, nesting),
            12 => self.values(wanted),
            _ => self.distinct(wanted, nesting),
        }
    }

    fn plain(&mut self, wanted: Option<&[Name]>, nesting: usize) -> Body {
        let (from, scope) = self.sources(nesting);
        let (items, kinds) = self.items(&scope, wanted);
        let tail = [self.condition(" WHERE ", &scope, 0.5), self.order(&scope, kinds.len(), 0.35), self.limit()];
        Body { node: selected(Node::text("SELECT "), items, from, tail), kinds }
    }

    fn distinct(&mut self, wanted: Option<&[Name]>, nesting: usize) -> Body {
        let (from, scope) = self.sources(nesting);
        let (items, kinds) = self.items(&scope, wanted);
        let (head, order) = match scope.choose(self.random) {
            Some(column) if self.random.random_bool(0.4) => {
                let on = [Node::text("SELECT DISTINCT ON ("), column.node.clone(), Node::text(") ")];
                let order = [Node::text(" ORDER BY "), column.node.clone()];
                (Node::row(Role::Fixed, on), Node::row(Role::Optional, order))
            }
            _ => (Node::text("SELECT DISTINCT "), self.order(&[], kinds.len(), 0.3)),
        };
        let condition = self.condition(" WHERE ", &scope, 0.3);
        Body { node: selected(head, items, from, [condition, order, self.limit()]), kinds }
    }

    fn grouped(&mut self, wanted: Option<&[Name]>, nesting: usize) -> Body {
        let (from, scope) = self.sources(nesting);
        let keys: Vec<Column> = (0..self.random.random_range(0..3)).map(|_| self.key(&scope)).collect();
        let condition = self.condition(" WHERE ", &scope, 0.3);
        let made: Vec<Column> = (0..self.up_to(3)).map(|_| self.aggregate(&scope)).collect();
        let group: Vec<Column> = keys.iter().chain(&made).cloned().collect();
        let (items, kinds) = self.items(&group, wanted);
        let by = if keys.is_empty() { Node::text("") } else { self.group_by(&keys) };
        let having = self.condition(" HAVING ", &group, 0.3);
        let order = self.order(&group, kinds.len(), 0.25);
        Body { node: selected(Node::text("SELECT "), items, from, [condition, by, having, order, self.limit()]), kinds }
    }

    /// What is grouped by: never a literal, which would be a position.
    fn key(&mut self, scope: &[Column]) -> Column {
        match scope.choose(self.random) {
            Some(column) if self.random.random_bool(0.7) => column.clone(),
            _ => {
                let kind = self.kind("ordered");
                Column { node: self.templated(kind, scope, 1).enclosed(), kind, name: String::new() }
            }
        }
    }

    fn group_by(&mut self, keys: &[Column]) -> Node {
        let named = keys.iter().all(|key| !key.name.is_empty());
        let keys = Node::list(", ", keys.iter().map(|key| key.node.clone()).collect());
        let (head, tail) = match named && self.chance(0.15) {
            true => (" GROUP BY ROLLUP (", ")"),
            false => (" GROUP BY ", ""),
        };
        Node::row(Role::Optional, [Node::text(head), keys, Node::text(tail)])
    }

    fn aggregate(&mut self, scope: &[Column]) -> Column {
        let template = TEMPLATES[1].choose(self.random).expect("there are templates");
        let kind = self.kind(template.result);
        let call = self.instance(template.text, kind, scope, 1);
        if !self.chance(0.15) {
            return Column { node: call, kind, name: String::new() };
        }
        let condition = self.expression("bool", scope, 1);
        let filter = Node::row(Role::Optional, [Node::text(" FILTER (WHERE "), condition, Node::text(")")]);
        Column { node: Node::row(Role::Expression, [call, filter]), kind, name: String::new() }
    }

    fn combined(&mut self, wanted: Option<&[Name]>, nesting: usize) -> Body {
        let kinds = match wanted {
            Some(wanted) => wanted.to_vec(),
            None => (0..self.up_to(3)).map(|_| self.kind("ordered")).collect(),
        };
        let mut parts = vec![self.side(&kinds, nesting)];
        parts.push(Node::text(self.one_of(&[" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT "])));
        parts.push(self.side(&kinds, nesting));
        parts.push(self.order(&[], kinds.len(), 0.4));
        parts.push(self.limit());
        Body { node: Node::row(Role::Query, parts), kinds }
    }

    /// Of a set operation, with columns of these types or of some that they have common ones with.
    fn side(&mut self, kinds: &[Name], nesting: usize) -> Node {
        let near: Vec<Name> = kinds.iter().map(|&kind| self.near(kind, 0.25)).collect();
        let side = self.body(Some(&near), nesting + 1).node;
        let sql = side.sql();
        let ends = [" ORDER BY ", " LIMIT ", " OFFSET ", " UNION ", " INTERSECT ", " EXCEPT "];
        if ends.iter().any(|word| sql.contains(word)) {
            return Node::row(Role::Query, [Node::text("("), side, Node::text(")")]);
        }
        side
    }

    fn values(&mut self, wanted: Option<&[Name]>) -> Body {
        let kinds = match wanted {
            Some(wanted) => wanted.to_vec(),
            None => (0..self.up_to(3)).map(|_| self.kind("any")).collect(),
        };
        let mut rows = vec![];
        for _ in 0..self.up_to(3) {
            let mut row = vec![Node::text("(")];
            for (at, &kind) in kinds.iter().enumerate() {
                row.push(Node::text(if at > 0 { ", " } else { "" }));
                let kind = self.near(kind, 0.2);
                row.push(self.expression(kind, &[], 1));
            }
            row.push(Node::text(")"));
            rows.push(Node::row(Role::Fixed, row));
        }
        Body { node: Node::row(Role::Query, [Node::text("VALUES "), Node::list(", ", rows)]), kinds }
    }

    /// All columns of a join, merged or not.
    fn star(&mut self) -> Node {
        let how = self.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let [(_, left), (_, right)] = TABLES else { panic!("two tables") };
        let mut shared: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
        shared.retain(|name| right.iter().any(|(other, _)| other == name));
        let merged: Vec<&str> = (0..self.up_to(2)).map(|_| self.one_of(&shared)).collect();
        let scope: Vec<Column> = merged.iter().map(|name| Column::of("", name, "int4")).collect();
        let items = self.one_of(&["*", "y.*, x.*", "*, x.i", "x.*, 1 AS i"]);
        let joined = match self.chance(0.2) {
            true => format!("SELECT {items} FROM t x NATURAL {how} u y"),
            false => format!("SELECT {items} FROM t x {how} u y USING ({})", merged.join(", ")),
        };
        let condition = self.condition(" WHERE ", &scope, 0.9);
        Node::row(Role::Query, [Node::text(joined), condition, self.limit()])
    }

    // Parts of queries.

    fn items(&mut self, scope: &[Column], wanted: Option<&[Name]>) -> (Node, Vec<Name>) {
        let kinds = match wanted {
            Some(wanted) => wanted.to_vec(),
            None => (0..self.up_to(4)).map(|_| self.item_kind(scope)).collect(),
        };
        let mut items = vec![];
        for &kind in &kinds {
            let depth = self.random.random_range(0..=DEPTH);
            let item = self.expression(kind, scope, depth);
            let name = if self.chance(0.15) { self.one_of(&[" AS c1", " AS x", " AS \"Q q\"", " total"]) } else { "" };
            items.push(Node::row(Role::Fixed, [item, Node::row(Role::Optional, [Node::text(name)])]));
        }
        (Node::list(", ", items), kinds)
    }

    fn item_kind(&mut self, scope: &[Column]) -> Name {
        match scope.choose(self.random) {
            Some(column) if self.random.random_bool(0.5) => column.kind,
            _ => self.kind("any"),
        }
    }

    fn condition(&mut self, head: &'static str, scope: &[Column], probability: f64) -> Node {
        if !self.chance(probability) {
            return Node::text("");
        }
        let condition = self.expression("bool", scope, 2);
        Node::row(Role::Optional, [Node::text(head), condition])
    }

    /// By places, and by expressions where there is a scope.
    fn order(&mut self, scope: &[Column], columns: usize, probability: f64) -> Node {
        if !self.chance(probability) {
            return Node::text("");
        }
        let mut terms = vec![];
        for _ in 0..self.up_to(2) {
            let way = self.one_of(&["", "", " DESC", " NULLS FIRST"]);
            let by = if scope.is_empty() || self.chance(0.3) {
                Node::text(self.up_to(columns).to_string())
            } else {
                let kind = self.kind("ordered");
                self.expression(kind, scope, 1)
            };
            terms.push(Node::row(Role::Fixed, [by, Node::text(way)]));
        }
        Node::row(Role::Optional, [Node::text(" ORDER BY "), Node::list(", ", terms)])
    }

    fn limit(&mut self) -> Node {
        if !self.chance(0.2) {
            return Node::text("");
        }
        let word = self.one_of(&[" LIMIT ", " LIMIT ", " OFFSET "]);
        let number = match self.random.random_range(0..6) {
            0..3 => self.parameter(),
            3 => Node::atom("3"),
            4 => {
                let kind = self.kind("number");
                self.expression(kind, &[], 1)
            }
            _ => Node::row(Role::Expression, [self.parameter(), Node::text("::int4 + 1")]),
        };
        Node::row(Role::Optional, [Node::text(word), number])
    }

    /// FROM, if there is one, and what can be named then.
    fn sources(&mut self, nesting: usize) -> (Node, Vec<Column>) {
        if self.chance(0.12) {
            return (Node::text(""), vec![]);
        }
        let (mut node, mut scope) = self.source(nesting);
        for _ in 0..self.one_of(&[0, 0, 0, 1, 1, 2]) {
            let (right, other) = self.source(nesting);
            (node, scope) = self.join(node, scope, right, other);
        }
        (Node::row(Role::Fixed, [Node::text(" FROM "), node]), scope)
    }

    fn join(&mut self, left: Node, scope: Vec<Column>, right: Node, other: Vec<Column>) -> (Node, Vec<Column>) {
        let how = self.one_of(&[" JOIN ", " JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "]);
        let mut both = [scope, other.clone()].concat();
        let times = |name: &str| both.iter().filter(|column| column.name == name).count();
        let shared: Vec<&Column> = other.iter().filter(|column| times(&column.name) == 2).collect();
        if let Some(&merged) = shared.choose(self.random).filter(|_| self.random.random_bool(0.3)) {
            let name = merged.name.clone();
            let using = Node::text(format!(" USING ({name})"));
            both.iter_mut().filter(|column| column.name == name).for_each(|column| column.name.clear());
            both.push(Column::of("", &name, merged.kind));
            return (Node::row(Role::Fixed, [left, Node::text(how), right, using]), both);
        }
        let on = self.expression("bool", &both, 2);
        (Node::row(Role::Fixed, [left, Node::text(how), right, Node::text(" ON "), on]), both)
    }

    fn source(&mut self, nesting: usize) -> (Node, Vec<Column>) {
        let alias = self.fresh('x');
        if nesting < NESTING && self.chance(0.15) {
            let body = self.body(None, nesting + 1);
            let head = Node::text(format!(") {alias} ({})", listed(body.kinds.len())));
            return (Node::row(Role::Fixed, [Node::text("("), body.node, head]), named(&alias, &body.kinds));
        }
        if !self.ctes.is_empty() && self.chance(0.6) {
            let (name, kinds) = self.ctes.choose(self.random).expect("there are some");
            return (Node::text(format!("{name} {alias}")), named(&alias, kinds));
        }
        let (table, columns) = self.one_of(&[&TABLES[0], &TABLES[0], &TABLES[1]]);
        let columns = columns.iter().map(|(name, kind)| Column::of(&format!("{alias}."), name, kind)).collect();
        (Node::text(format!("{table} {alias}")), columns)
    }

    // Expressions.

    fn expression(&mut self, kind: Name, scope: &[Column], depth: usize) -> Node {
        if depth == 0 || self.chance(0.2) { self.leaf(kind, scope) } else { self.templated(kind, scope, depth) }
    }

    fn templated(&mut self, kind: Name, scope: &[Column], depth: usize) -> Node {
        let fits = |template: &&Template| members(template.result).contains(&kind);
        let all: Vec<&Template> = TEMPLATES[0].iter().filter(fits).collect();
        // What makes any type would hide the type's own.
        let own: Vec<&Template> = all.iter().filter(|template| is_particular(template)).copied().collect();
        let from = if !own.is_empty() && self.chance(0.7) { own } else { all };
        let template = from.choose(self.random).expect("some make any type");
        self.instance(template.text, kind, scope, depth - 1)
    }

    /// A template with an expression in each of its places.
    fn instance(&mut self, text: &'static str, kind: Name, scope: &[Column], depth: usize) -> Node {
        let chosen = if self.chance(0.1) { self.kind("any") } else { self.kind("ordered") };
        // BETWEEN ends its first bound in ways of its own.
        let is_open = self.chance(0.06) && !text.contains("BETWEEN");
        let mut parts = vec![];
        let mut rest = text;
        while let Some((before, place)) = rest.split_once('{') {
            let (word, after) = place.split_once('}').expect("a place ends");
            parts.push(Node::text(before));
            let (word, typed) = match word.strip_prefix('=') {
                Some(word) => (word, true),
                // One value of no type takes that of the others.
                None => (word, parts.iter().any(Node::is_untyped) && self.chance(0.9)),
            };
            let kind = match word {
                "NAME" => {
                    parts.push(Node::text(self::kind(kind).declared));
                    rest = after;
                    continue;
                }
                "T" => kind,
                "X" => chosen,
                _ => self.kind(word),
            };
            let inner = self.place(kind, scope, depth, typed);
            parts.push(if is_open { inner } else { inner.enclosed() });
            rest = after;
        }
        parts.push(Node::text(rest));
        parts.retain(|part| !matches!(part, Node::Text(text) if text.is_empty()));
        Node::Row { role: Role::Expression, parts }
    }

    fn place(&mut self, kind: Name, scope: &[Column], depth: usize, typed: bool) -> Node {
        let kind = if self.chance(0.005) { self.kind("any") } else { self.near(kind, 0.1) };
        let inner = self.expression(kind, scope, depth);
        if typed && inner.is_untyped() {
            return Node::row(Role::Expression, [inner, Node::text(format!("::{}", self::kind(kind).declared))]);
        }
        inner
    }

    /// `kind`, or with some probability one that it has a common type with.
    fn near(&mut self, kind: Name, probability: f64) -> Name {
        if self.chance(probability) { self.one_of(&family(kind)) } else { kind }
    }

    fn leaf(&mut self, kind: Name, scope: &[Column]) -> Node {
        let columns: Vec<&Column> = scope.iter().filter(|column| column.kind == kind).collect();
        match columns.choose(self.random) {
            Some(column) if self.random.random_bool(0.5) => column.node.clone(),
            _ if self.chance(0.65) => self.parameter(),
            _ => self.literal(kind),
        }
    }

    /// Mostly one that there is not yet; its number does not always follow the others'.
    fn parameter(&mut self) -> Node {
        const EARLY: usize = 3;
        self.parameters += 1;
        let which = match self.random.random_range(0..10) {
            0 => self.random.random_range(0..EARLY),
            1 => EARLY + self.random.random_range(0..self.parameters),
            _ => EARLY + self.parameters,
        };
        Node::row(Role::Expression, [Node::Parameter(which)])
    }

    fn literal(&mut self, name: Name) -> Node {
        let kind = kind(name);
        let value = self.one_of(kind.values);
        Node::atom(match self.random.random_range(0..10) {
            0 => "NULL".to_string(),
            1 => format!("NULL::{}", kind.declared),
            2 | 3 => format!("'{value}'::{}", kind.declared),
            4 | 5 if members("number").contains(&name) => value.to_string(),
            4 | 5 if name == "bool" => "true".to_string(),
            4 | 5 if ["date", "timestamp", "interval"].contains(&name) => format!("{name} '{value}'"),
            _ => format!("'{value}'"),
        })
    }
}

/// Whether a template is about a type, or a class that is not nearly all of them.
fn is_particular(template: &Template) -> bool {
    !["any", "ordered"].contains(&template.result)
}

fn selected<const N: usize>(head: Node, items: Node, from: Node, tail: [Node; N]) -> Node {
    Node::row(Role::Query, [head, items, from].into_iter().chain(tail))
}

/// `c1, c2, …`
fn listed(columns: usize) -> String {
    (1..=columns).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ")
}

fn named(alias: &str, kinds: &[Name]) -> Vec<Column> {
    let column = |(at, &kind): (usize, &Name)| Column::of(&format!("{alias}."), &format!("c{}", at + 1), kind);
    kinds.iter().enumerate().map(column).collect()
}
