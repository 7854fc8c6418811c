//! SQL as a tree, so that parts of a statement can be left out or put in the place of others.

use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    /// Which of the statement's parameters it is; written as `$1`, `$2`, … in the order of these.
    Parameter(usize),
    /// Nodes one after another.
    Row {
        role: Role,
        parts: Vec<Node>,
    },
    /// Nodes of which all but one may be left out.
    List {
        separator: &'static str,
        parts: Vec<Node>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Expression,
    Query,
    /// May be left out.
    Optional,
    Fixed,
}

impl Node {
    pub fn text(text: impl Into<String>) -> Self {
        Node::Text(text.into())
    }

    pub fn row(role: Role, parts: impl IntoIterator<Item = Node>) -> Self {
        Node::Row { role, parts: parts.into_iter().collect() }
    }

    /// `text` as an expression.
    pub fn atom(text: impl Into<String>) -> Self {
        Node::row(Role::Expression, [Node::text(text)])
    }

    pub fn list(separator: &'static str, parts: Vec<Node>) -> Self {
        Node::List { separator, parts }
    }

    /// Between parentheses, unless it is one word or stands between them already.
    pub fn enclosed(self) -> Self {
        match &self {
            Node::Row { role: Role::Expression, parts } if parts.len() > 1 && !parts[0].is("(") => {
                Node::row(Role::Expression, [Node::text("("), self, Node::text(")")])
            }
            _ => self,
        }
    }

    /// A parameter, NULL or a bare string, which become of the type that their place asks for.
    pub fn is_untyped(&self) -> bool {
        match self {
            Node::Row { role: Role::Expression, parts } => match &parts[..] {
                [Node::Parameter(_)] => true,
                [Node::Text(text)] => text == "NULL" || text.starts_with('\'') && text.ends_with('\''),
                _ => false,
            },
            _ => false,
        }
    }

    fn is(&self, word: &str) -> bool {
        matches!(self, Node::Text(text) if text == word)
    }

    pub fn sql(&self) -> String {
        let numbers: Vec<usize> = self.parameters().into_iter().collect();
        let mut sql = String::new();
        self.write(&numbers, &mut sql);
        sql
    }

    /// Those that stand in it, in the order of their numbers.
    pub fn parameters(&self) -> BTreeSet<usize> {
        match self {
            Node::Text(_) => BTreeSet::new(),
            Node::Parameter(which) => BTreeSet::from([*which]),
            Node::Row { parts, .. } | Node::List { parts, .. } => parts.iter().flat_map(Node::parameters).collect(),
        }
    }

    fn write(&self, numbers: &[usize], sql: &mut String) {
        match self {
            Node::Text(text) => sql.push_str(text),
            Node::Parameter(which) => {
                let number = numbers.iter().position(|number| number == which).expect("it is one of the tree's");
                sql.push_str(&format!("${}", number + 1));
            }
            Node::Row { parts, .. } => parts.iter().for_each(|part| part.write(numbers, sql)),
            Node::List { separator, parts } => {
                for (at, part) in parts.iter().enumerate() {
                    sql.push_str(if at == 0 { "" } else { separator });
                    part.write(numbers, sql);
                }
            }
        }
    }

    /// Trees that are this one with one part less, or with a part in the place of what it was a part of; the largest cuts first.
    pub fn smaller(&self) -> Vec<Node> {
        let mut smaller = vec![];
        match self {
            Node::Text(_) | Node::Parameter(_) => return smaller,
            Node::Row { role: Role::Optional, .. } => smaller.push(Node::text("")),
            Node::Row { role: Role::Fixed, .. } => {}
            Node::Row { role, .. } => {
                self.below(*role, &mut smaller);
                if *role == Role::Expression {
                    smaller.push(Node::text("NULL"));
                }
            }
            Node::List { separator, parts } if parts.len() > 1 => {
                for at in 0..parts.len() {
                    let mut rest = parts.clone();
                    rest.remove(at);
                    smaller.push(Node::list(separator, rest));
                }
            }
            Node::List { .. } => {}
        }
        let (Node::Row { parts, .. } | Node::List { parts, .. }) = self else { return smaller };
        for (at, part) in parts.iter().enumerate() {
            smaller.extend(part.smaller().into_iter().map(|part| self.with(at, part)));
        }
        smaller
    }

    /// The nearest nodes of a role below this one.
    fn below(&self, wanted: Role, found: &mut Vec<Node>) {
        let (Node::Row { parts, .. } | Node::List { parts, .. }) = self else { return };
        for part in parts {
            match part {
                Node::Row { role, .. } if *role == wanted => found.push(part.clone()),
                _ => part.below(wanted, found),
            }
        }
    }

    fn with(&self, at: usize, part: Node) -> Self {
        let mut changed = self.clone();
        if let Node::Row { parts, .. } | Node::List { parts, .. } = &mut changed {
            parts[at] = part;
        }
        changed
    }
}
