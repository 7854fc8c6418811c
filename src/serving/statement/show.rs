//! SHOW, DESCRIBE and SHOW CREATE, as RisingWave prints them.

use super::{Outcome, Tag};
use crate::catalog::system::Setting;
use crate::catalog::{Body, Life, Object};
use crate::serving::query::names::DATABASE;
use crate::serving::query::run::Rows;
use crate::serving::session::Session;
use crate::serving::value::WireType;
use crate::serving::value::row::Column;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use std::sync::Arc;
use weir_sql::statement::{ObjectKind, Statement};
use weir_sql::types::Type;
use weir_sql::{Error, Result};

const DESCRIBE: [&str; 4] = ["Name", "Type", "Is Hidden", "Description"];
const CREATE: [&str; 2] = ["Name", "Create Sql"];
const ALL: [&str; 3] = ["Name", "Setting", "Description"];
const JOBS: [&str; 3] = ["Id", "Statement", "Progress"];

/// All of them are text.
pub(super) fn columns(statement: &Statement) -> Option<Vec<Column>> {
    let names: Vec<String> = match statement {
        Statement::ShowObjects(_) => vec!["Name".into()],
        Statement::ShowCreate { .. } => CREATE.map(String::from).into(),
        Statement::Describe { .. } => DESCRIBE.map(String::from).into(),
        Statement::ShowVariable { name } => match name.as_str() {
            "all" => ALL.map(String::from).into(),
            "jobs" => JOBS.map(String::from).into(),
            "databases" | "schemas" | "views" => vec!["Name".into()],
            _ => vec![name.clone()],
        },
        Statement::Explain { .. } => vec!["QUERY PLAN".into()],
        _ => return None,
    };
    Some(names.into_iter().map(|name| Column { name, wire_type: WireType::from(Type::Text) }).collect())
}

fn table(names: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<Outcome> {
    let column =
        |index: usize| Arc::new(rows.iter().map(|row| row[index].clone()).collect::<StringArray>()) as ArrayRef;
    let columns = names.iter().enumerate().map(|(index, name)| (*name, column(index), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Outcome::Rows(Rows::ready(batch)?, Tag::Fixed("SHOW".into())))
}

fn is(object: &Object, kind: ObjectKind) -> bool {
    matches!(
        (&object.body, kind),
        (Body::Source(_), ObjectKind::Source)
            | (Body::Table(_), ObjectKind::Table)
            | (Body::View(_), ObjectKind::MaterializedView)
    )
}

impl Session {
    pub(super) fn show_objects(&mut self, kind: ObjectKind) -> Result<Outcome> {
        let catalog = self.catalog();
        let shown = catalog.objects.values().filter(|o| is(o, kind) && o.life != Life::Dropping);
        let mut names: Vec<String> = shown.map(|o| o.name.clone()).collect();
        names.sort();
        table(&["Name"], names.into_iter().map(|name| vec![Some(name)]).collect())
    }

    pub(super) fn show_create(&mut self, kind: ObjectKind, name: &str) -> Result<Outcome> {
        let catalog = self.catalog();
        let object = catalog.by_name(name).filter(|o| is(o, kind)).ok_or_else(|| Error::undefined_relation(name))?;
        table(&CREATE, vec![vec![Some(format!("public.{name}")), Some(object.definition.clone())]])
    }

    pub(super) fn describe(&mut self, name: &str) -> Result<Outcome> {
        let catalog = self.catalog();
        let object = catalog.by_name(name).ok_or_else(|| Error::undefined_relation(name))?;
        let text = |text: &str| Some(text.to_string());
        let columns = object.columns().unwrap_or_default();
        let mut rows: Vec<_> =
            columns.iter().map(|c| vec![text(&c.name), Some(c.kind.to_string()), text("false"), None]).collect();
        if let Some(key) = object.key().filter(|key| !key.is_empty()) {
            let names = key.iter().map(|k| columns[*k].name.as_str()).collect::<Vec<_>>().join(", ");
            rows.push(vec![text("primary key"), Some(names.clone()), None, None]);
            rows.push(vec![text("distribution key"), Some(names), None, None]);
        }
        rows.push(vec![text("table description"), text(name), None, None]);
        table(&DESCRIBE, rows)
    }

    pub(super) async fn show_variable(&mut self, name: &str) -> Result<Outcome> {
        let one = |name: &str| vec![Some(name.to_string())];
        match name {
            "all" => {
                let all = self.variables.all();
                let row = |setting: Setting| {
                    vec![Some(setting.name.to_string()), Some(setting.value), Some(setting.about.to_string())]
                };
                table(&ALL, all.into_iter().map(row).collect())
            }
            "jobs" => {
                let known = self.facts().await.inspection;
                let jobs =
                    known.ok_or_else(|| Error::new("55000", "the server is too busy to say").hint("Try again."))?.ddl;
                let row = |(statement, id, progress, _): (String, u32, String, i64)| {
                    vec![Some(id.to_string()), Some(statement), Some(progress)]
                };
                table(&JOBS, jobs.into_iter().map(row).collect())
            }
            "databases" => table(&["Name"], vec![one(DATABASE)]),
            "schemas" => {
                let names = ["information_schema", "pg_catalog", "public", "rw_catalog"];
                table(&["Name"], names.into_iter().map(one).collect())
            }
            "views" => table(&["Name"], vec![]),
            name => {
                let value = self.setting(name)?;
                table(&[name], vec![one(&value)])
            }
        }
    }
}
