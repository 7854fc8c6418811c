//! Tables and queries by chance.

use super::naive::Data;
use super::*;

pub struct Generator {
    state: u64,
    last: u32,
    pub data: Data,
}

/// A node, the columns of it that can be named, and one of them.
struct Rows {
    node: Node,
    columns: Vec<Expr>,
    shown: Expr,
}

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

impl Generator {
    pub fn new(seed: u64) -> Self {
        let mut own = Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, last: 0, data: Data::new() };
        for name in ["a", "b", "c"] {
            let rows = own.below(7);
            let has_null = own.below(3) > 0;
            let mut value = || match own.below(if has_null { 5 } else { 4 }) {
                4 => None,
                value => Some(value as i64),
            };
            let rows = (0..rows).map(|_| (0..3).map(|_| value()).collect()).collect();
            own.data.insert(name.into(), rows);
        }
        own
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) as usize % limit
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn column(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn scan(&mut self, names: &[&str]) -> (Node, Vec<Expr>) {
        let name = self.of(names);
        let first = self.last + 1;
        self.last += 3;
        (scan(&self.data, name, first), (first..first + 3).map(int).collect())
    }

    pub fn query(&mut self) -> Query {
        let (mut node, mut columns) = self.scan(&["a"]);
        if self.below(4) == 0 {
            (node, columns) = self.joined(node, columns);
        }
        if self.below(6) == 0 {
            let (key, count) = (self.column(), self.column());
            let by = self.of(&columns);
            node = group(node, vec![(key, by)], vec![(count, aggregate("count", None))]);
            columns = vec![int(key), make::column(ColumnId(count), make::INT8)];
        }
        for _ in 0..1 + self.below(2) {
            (node, columns) = self.placed(node, columns);
        }
        select(node, &columns)
    }

    /// A join with a subquery in its condition.
    fn joined(&mut self, left: Node, mut columns: Vec<Expr>) -> (Node, Vec<Expr>) {
        let (right, others) = self.scan(&["a", "b"]);
        let side = if self.below(2) == 0 { columns.clone() } else { others.clone() };
        let kind = self.of(&[Join::Inner, Join::Left, Join::Right, Join::Full]);
        let equal = binary(self.of(&columns), "=", self.of(&others));
        let on = vec![equal, self.truth(1, &side)];
        columns.extend(others);
        (join(kind, left, right, on), columns)
    }

    fn placed(&mut self, node: Node, mut columns: Vec<Expr>) -> (Node, Vec<Expr>) {
        let own = columns.clone();
        match self.below(8) {
            0 | 1 => {
                let condition = self.truth(2, &own);
                (filter(node, vec![condition]), columns)
            }
            2 => {
                let condition = make::not(self.truth(2, &own));
                (filter(node, vec![condition]), columns)
            }
            3 => {
                let conditions = vec![self.plain(&own), self.truth(1, &own), make::not(self.truth(1, &own))];
                (filter(node, conditions), columns)
            }
            4 => {
                let condition = Expr::Or(vec![self.truth(1, &own), self.plain(&own)]);
                (filter(node, vec![condition]), columns)
            }
            5 => {
                let (id, truth) = (self.column(), self.truth(2, &own));
                columns.push(make::column(ColumnId(id), BOOL.into()));
                (extend(node, vec![(ColumnId(id), truth)]), columns)
            }
            6 => {
                let id = self.column();
                let value = self.value(2, &own);
                let value = if self.below(2) == 0 { value } else { make::when(self.plain(&own), value, None) };
                columns.push(make::column(ColumnId(id), value.kind()));
                (extend(node, vec![(ColumnId(id), value)]), columns)
            }
            _ => {
                let (key, count, sum) = (self.column(), self.column(), self.column());
                let truth = self.truth(1, &own);
                let mut calls = vec![(count, aggregate("count", None))];
                let argument = self.value(1, &own);
                if argument.kind() == INT4 {
                    calls.push((sum, aggregate("min", Some(argument))));
                } else {
                    calls.push((sum, aggregate("count", Some(argument))));
                }
                let kind = calls[1].1.kind;
                let columns = vec![
                    make::column(ColumnId(key), BOOL.into()),
                    make::column(ColumnId(count), make::INT8),
                    make::column(ColumnId(sum), kind),
                ];
                (group(node, vec![(key, truth)], calls), columns)
            }
        }
    }

    /// A value of a subquery.
    fn value(&mut self, depth: usize, outer: &[Expr]) -> Expr {
        let Rows { node, shown, .. } = self.rows(depth, outer, true);
        if shown.kind() == INT4 && self.below(4) == 0 {
            return subquery(Form::Array, sort(node, vec![by(shown.clone())]), shown);
        }
        subquery(Form::Scalar, node, shown)
    }

    /// What a subquery decides.
    fn truth(&mut self, depth: usize, outer: &[Expr]) -> Expr {
        let numbers: Vec<Expr> = outer.iter().filter(|expr| is_number(expr)).cloned().collect();
        let name = self.of(&COMPARISONS);
        let form = self.below(8);
        if form < 3 {
            let Rows { node, shown, .. } = self.rows(depth, outer, false);
            return subquery(Form::Exists, node, shown);
        }
        let own = if numbers.is_empty() || self.below(8) == 0 { number(1) } else { self.of(&numbers) };
        if form == 7 {
            let Rows { node, shown, .. } = self.rows(depth, outer, true);
            return binary(own, name, subquery(Form::Scalar, node, shown));
        }
        let Rows { node, shown, .. } = self.rows(depth, outer, false);
        match (form, self.below(3)) {
            (3, _) => subquery(Form::Any(binary(own, "=", shown.clone())), node, shown),
            (4, _) => subquery(Form::All(binary(own, "<>", shown.clone())), node, shown),
            (5, 0) => {
                let pair = Expr::And(vec![binary(own.clone(), "=", shown.clone()), binary(own, "<=", shown.clone())]);
                subquery(Form::Any(pair), node, shown)
            }
            (5, _) => subquery(Form::Any(binary(own, name, shown.clone())), node, shown),
            _ => subquery(Form::All(binary(own, name, shown.clone())), node, shown),
        }
    }

    /// A condition without subqueries.
    fn plain(&mut self, columns: &[Expr]) -> Expr {
        let columns: Vec<Expr> = columns.iter().filter(|expr| is_number(expr)).cloned().collect();
        if columns.is_empty() {
            return make::truth(true);
        }
        let (left, name) = (self.of(&columns), self.of(&COMPARISONS));
        match self.below(3) {
            0 => binary(left, name, self.of(&columns)),
            1 => binary(left, name, number(1)),
            _ => make::is(left, Test::Null, self.below(2) == 0),
        }
    }

    fn condition(&mut self, depth: usize, own: &[Expr], outer: &[Expr]) -> Expr {
        let numbers: Vec<Expr> = outer.iter().filter(|expr| is_number(expr)).cloned().collect();
        let inner: Vec<Expr> = own.iter().filter(|expr| is_number(expr)).cloned().collect();
        if inner.is_empty() {
            return self.plain(own);
        }
        match self.below(10) {
            0..=4 if !numbers.is_empty() => binary(self.of(&inner), "=", self.of(&numbers)),
            5 if !numbers.is_empty() => {
                let name = self.of(&COMPARISONS);
                binary(self.of(&numbers), name, self.of(&inner))
            }
            6 if !numbers.is_empty() => self.plain(&numbers),
            7 if depth > 0 => {
                let visible = [own, outer].concat();
                self.truth(depth - 1, &visible)
            }
            8 => Expr::Or(vec![self.plain(own), self.condition(0, own, outer)]),
            _ => self.plain(own),
        }
    }

    /// Rows that name outer columns or not; mostly one of them if they are to be a value.
    fn rows(&mut self, depth: usize, outer: &[Expr], one: bool) -> Rows {
        let (mut node, mut columns) = self.scan(&["b", "c"]);
        for _ in 0..self.below(3) {
            let condition = self.condition(depth, &columns, outer);
            node = filter(node, vec![condition]);
        }
        let numbers: Vec<Expr> = outer.iter().filter(|expr| expr.kind() == INT4).cloned().collect();
        match self.below(if depth > 0 { 9 } else { 6 }) {
            0 if !numbers.is_empty() => {
                let outer = self.of(&numbers);
                let value = if self.below(3) == 0 { outer } else { binary(self.of(&columns), "+", outer) };
                let id = self.column();
                node = extend(node, vec![(ColumnId(id), value)]);
                columns = vec![int(id)];
            }
            1 => {
                let (key, count) = (self.column(), self.column());
                let by = self.of(&columns);
                let counted = self.of(&columns);
                node = group(node, vec![(key, by)], vec![(count, aggregate("count", Some(counted)))]);
                columns = vec![int(key), make::column(ColumnId(count), make::INT8)];
            }
            2 => {
                let shown = self.of(&columns);
                let (id, kind) = match &shown {
                    Expr::Column { id, kind } => (*id, *kind),
                    other => panic!("{other:?}"),
                };
                node = Node::Distinct { input: Box::new(node), columns: vec![(id, kind)] };
                columns = vec![shown];
            }
            3 => {
                let order = columns.iter().cloned().map(by).collect();
                node = limit(sort(node, order), 1);
            }
            6 => {
                let kind = self.of(&[Join::Inner, Join::Left, Join::Right, Join::Full]);
                let other = self.rows(depth - 1, outer, false);
                let on = [binary(self.of(&columns), "=", self.of(&other.columns)), self.condition(0, &columns, outer)];
                let on = on[..1 + self.below(2)].to_vec();
                node = join(kind, node, other.node, on);
                columns.extend(other.columns);
            }
            7 => {
                let other = self.rows(depth - 1, outer, false);
                let (own, shown) = (self.of(&columns), other.shown);
                if own.kind() == shown.kind() {
                    let (set, all) = self.of(&[
                        (Set::Union, true),
                        (Set::Union, false),
                        (Set::Intersect, false),
                        (Set::Except, false),
                    ]);
                    let id = self.column();
                    let kind = own.kind();
                    let side = |node: Node, expr: Expr| match expr {
                        Expr::Column { id, .. } => (Box::new(node), vec![id]),
                        other => panic!("{other:?}"),
                    };
                    let (left, right) = (side(node, own), side(other.node, shown));
                    node = Node::Combine { set, all, left, right, columns: vec![(ColumnId(id), kind)] };
                    columns = vec![make::column(ColumnId(id), kind)];
                }
            }
            _ => {}
        }
        if self.below(if one { 3 } else { 8 }) > 0 && one || self.below(6) == 0 {
            (node, columns) = self.totals(node, &columns, outer);
        }
        if self.below(5) == 0 {
            let condition = self.condition(depth, &columns, outer);
            node = filter(node, vec![condition]);
        }
        let shown = self.of(&columns);
        Rows { node, columns, shown }
    }

    /// An aggregate of all rows, and something that is made of it.
    fn totals(&mut self, node: Node, columns: &[Expr], outer: &[Expr]) -> (Node, Vec<Expr>) {
        let (first, second) = (self.column(), self.column());
        let argument = self.of(columns);
        let name = self.of(&["count", "min", "max", "sum"]);
        let call = match argument.kind() == INT4 {
            true => aggregate(name, Some(argument)),
            false => aggregate("count", Some(argument)),
        };
        let kind = call.kind;
        let node = group(node, vec![], vec![(first, call), (second, aggregate("count", None))]);
        let (value, rows) = (make::column(ColumnId(first), kind), make::column(ColumnId(second), make::INT8));
        let numbers: Vec<Expr> = outer.iter().filter(|expr| expr.kind() == INT4).cloned().collect();
        if kind != INT4 || numbers.is_empty() || self.below(3) > 0 {
            return (node, vec![value, rows]);
        }
        let id = self.column();
        let sum = binary(make::coalesce(value, number(7)), "+", self.of(&numbers));
        (extend(node, vec![(ColumnId(id), sum)]), vec![int(id)])
    }
}

fn is_number(expr: &Expr) -> bool {
    [INT4, make::INT8].contains(&expr.kind())
}
