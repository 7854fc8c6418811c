//! EXPLAIN's text: one line per node, children indented by two spaces, and what each node keeps.

use crate::plan::{JoinKind, Node, Operator, Plan};
use crate::scalar::Scalar;
use crate::types::Column;
use std::fmt::Write;

pub fn explain(plan: &Plan) -> String {
    let stored = match &plan.key {
        None => "as a bag".to_string(),
        Some(key) if key.is_empty() => "as one row".to_string(),
        Some(key) => format!("by ({})", names(&plan.root.columns, key)),
    };
    let mut text = format!("View [{}]  keeps: rows {stored}\n", all_names(&plan.root.columns));
    write_node(&plan.root, 1, &mut text);
    text
}

fn write_node(node: &Node, depth: usize, text: &mut String) {
    let line = line(node);
    writeln!(text, "{:indent$}{line}", "", indent = depth * 2).expect("a String takes all text");
    node.inputs().into_iter().for_each(|input| write_node(input, depth + 1, text));
}

fn line(node: &Node) -> String {
    match &node.operator {
        Operator::Scan { name, .. } => format!("Scan {name} [{}]", all_names(&node.columns)),
        Operator::Values { rows } => {
            let rows: Vec<_> = rows.iter().map(|row| format!("({})", expressions(row, &[]))).collect();
            format!("Values [{}]", rows.join(", "))
        }
        Operator::Map { input, filter, project } => {
            let filter = filter.as_ref().map(|f| format!(" filter: {}", expression(f, &input.columns)));
            format!("Map project: [{}]{}", expressions(project, &input.columns), filter.unwrap_or_default())
        }
        Operator::Join { kind, left, right, keys, null_equal, residual } => {
            let (l, r): (Vec<usize>, Vec<usize>) = keys.iter().copied().unzip();
            let equal = if *null_equal { "is not distinct from" } else { "=" };
            let pair =
                |(l, r): &(usize, usize)| format!("{} {equal} {}", left.columns[*l].name, right.columns[*r].name);
            let on: Vec<_> = keys.iter().map(pair).collect();
            let both = [&left.columns[..], &right.columns[..]].concat();
            let residual = residual.as_ref().map(|r| format!(" and: {}", expression(r, &both))).unwrap_or_default();
            let keeps = format!("left by ({}), right by ({})", names(&left.columns, &l), names(&right.columns, &r));
            format!("{} Join on: [{}]{residual}  keeps: {keeps}", kind_name(*kind), on.join(", "))
        }
        Operator::Reduce { input, group, aggregates } => {
            let group = names(&input.columns, group);
            let aggregates: Vec<_> = aggregates.iter().map(|a| a.text(&input.columns)).collect();
            let keeps = if group.is_empty() { "one group".to_string() } else { format!("groups by ({group})") };
            format!("Reduce group: [{group}] aggregates: [{}]  keeps: {keeps}", aggregates.join(", "))
        }
        Operator::Distinct { .. } => format!("Distinct [{}]  keeps: rows", all_names(&node.columns)),
        Operator::Union { .. } => "Union".into(),
        Operator::Negate { .. } => "Negate".into(),
        Operator::Threshold { .. } => "Threshold  keeps: rows".into(),
    }
}

fn kind_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "Inner",
        JoinKind::Left => "Left",
        JoinKind::Right => "Right",
        JoinKind::Full => "Full",
        JoinKind::Semi => "Semi",
        JoinKind::Anti => "Anti",
        JoinKind::Mark => "Mark",
    }
}

fn expressions(expressions: &[Scalar], columns: &[Column]) -> String {
    expressions.iter().map(|e| expression(e, columns)).collect::<Vec<_>>().join(", ")
}

/// `scalar` over `columns`.
pub fn expression(scalar: &Scalar, columns: &[Column]) -> String {
    scalar.named(columns).to_string()
}

fn names(columns: &[Column], indices: &[usize]) -> String {
    indices.iter().map(|&i| columns[i].name.as_str()).collect::<Vec<_>>().join(", ")
}

fn all_names(columns: &[Column]) -> String {
    columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}
