//! Queries and what they are bound as, or PostgreSQL's error: over three tables.


use crate::bind::{Relation, Relations, query};
use crate::bound::{Bound, Kind, Table, Unbound};
use crate::error::Error;
use crate::postgres::types::named;
use crate::session::Settings;
use crate::statement::{Statement, parse};
use arrow::datatypes::Schema;
use datafusion::logical_expr::builder::LogicalTableSource;
use std::sync::Arc;

struct Tables;

const TABLES: &[(&str, &[(&str, &str, i32)], &[usize])] = &[
    ("t", &[("a", "int4", -1), ("b", "text", -1), ("c", "numeric", 655_366), ("d", "date", -1)], &[0]),
    ("u", &[("a", "int8", -1), ("b", "varchar", 9), ("e", "bool", -1)], &[]),
    ("v", &[("x", "int4", -1), ("y", "int4", -1), ("z", "json", -1)], &[0, 1]),
    ("w", &[("a", "int4", -1), ("b", "text", -1)], &[]),
];

impl Relations for Tables {
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<Relation> {
        let found = TABLES.iter().find(|(table, _, _)| *table == name && schema.is_none_or(|schema| schema == "public"));
        let Some((_, columns, key)) = found else {
            let name = schema.map_or(name.into(), |schema| format!("{schema}.{name}"));
            return Err(Error::undefined_relation(&name).into());
        };
        let column = |(name, kind, modifier): &(&str, &str, i32)| {
            let oid = named(kind).expect("a type").oid;
            (name.to_string(), Kind { oid, modifier: *modifier })
        };
        Ok(Relation {
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            key: (!key.is_empty()).then(|| key.to_vec()),
            table: Table(Arc::new(LogicalTableSource::new(Arc::new(Schema::empty())))),
        })
    }
}

fn bound(sql: &str, declared: &[Kind]) -> Bound<crate::bound::Query> {
    let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    let Statement::Query(tree) = parsed.statement else { panic!("{sql} is a query") };
    query(&tree, declared, &Tables, &Settings::default())
}

fn kind_of(kind: Kind) -> String {
    let name = kind.oid.entry().map_or("?", |entry| entry.name);
    if kind.modifier < 0 { name.to_string() } else { format!("{name}({})", kind.modifier) }
}

fn error_of(error: Error) -> String {
    let at = error.position.map_or(String::new(), |at| format!(" at {at}"));
    let detail = error.detail.map_or(String::new(), |detail| format!("; {detail}"));
    let hint = error.hint.map_or(String::new(), |hint| format!("; {hint}"));
    format!("{} {}{at}{detail}{hint}", error.sqlstate, error.message)
}

#[test]
fn zz_compare() {
    let Ok(text) = std::fs::read_to_string("/root/try/b/in.txt") else { return };
    let mut out = String::new();
    for line in text.lines() {
        let Ok(mut parsed) = parse(line) else {
            out.push_str(&format!("{line}\tPARSE\n"));
            continue;
        };
        let Statement::Query(tree) = parsed.remove(0).statement else {
            out.push_str(&format!("{line}\tPARSE\n"));
            continue;
        };
        match query(&tree, &[], &Tables, &Settings::default()) {
            Ok(query) => {
                let outputs: Vec<String> =
                    query.outputs.iter().map(|output| format!("{}:{}", output.name, kind_of(output.kind))).collect();
                let parameters: Vec<String> = query.parameters.iter().map(|kind| kind_of(*kind)).collect();
                out.push_str(&format!("{line}\tOK\t{}\t{}\n", outputs.join(","), parameters.join(",")));
            }
            Err(Unbound::NotYet(why)) => out.push_str(&format!("{line}\tNY\t{why}\n")),
            Err(Unbound::Wrong(error)) => {
                let at = error.position.map_or("-".into(), |at| at.to_string());
                out.push_str(&format!(
                    "{line}\tERR\t{}\t{}\t{at}\t{}\t{}\n",
                    error.sqlstate,
                    error.message,
                    error.detail.unwrap_or("-".into()),
                    error.hint.unwrap_or("-".into())
                ));
            }
        }
    }
    std::fs::write("/root/try/b/out.txt", out).expect("written");
}
