//! What INSERT, UPDATE, DELETE and TRUNCATE share: which tables may be written, whose turn it is, and rows that fit a table.

use super::Outcome;
use crate::catalog::{Body, Catalog, Object};
use crate::coordinator::request::Request;
use crate::serving::query::run::Rows;
use crate::serving::session::Session;
use crate::serving::transaction::Change;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use weir_sql::bind::slots::Slot;
use weir_sql::bound::Kind;
use weir_sql::catalog::RelationId;
use weir_sql::function::cast::{self, trimmed};
use weir_sql::function::zone::Zone;
use weir_sql::session::names::folded;
use weir_sql::types::{Column, Type};
use weir_sql::{Error, Result};
use weir_storage::Epoch;
use weir_storage::key::Keys;

/// A transaction that holds a lock and waits this long for another one most likely waits for itself.
const DEADLOCK: Duration = Duration::from_secs(10);

/// A table that statements may write.
pub struct Target {
    pub object: Object,
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
}

impl Target {
    pub fn find(catalog: &Catalog, name: &ObjectName) -> Result<Self> {
        let name = relation_name(name)?;
        let object = catalog.by_name(&name).ok_or_else(|| Error::undefined_relation(&name))?;
        let refused = |why: &str, hint: &str| {
            Err(Error::new("42809", format!("cannot change {} \"{name}\"", object.kind())).detail(why).hint(hint))
        };
        match &object.body {
            Body::Table(table) if table.upstream.is_none() => Ok(Self {
                columns: table.columns.clone(),
                key: table.key.clone().unwrap_or_default(),
                object: object.clone(),
            }),
            Body::Table(_) => refused("It follows a table of a source.", "Change the rows in the source's database."),
            Body::View(_) => refused("It is computed from its query.", "Change the tables it reads."),
            Body::Source(_) => refused("It holds no rows.", "Change the rows in the source's database."),
        }
    }

    pub fn id(&self) -> RelationId {
        RelationId(self.object.id)
    }

    pub fn name(&self) -> &str {
        &self.object.name
    }

    pub fn column(&self, name: &Ident) -> Result<usize> {
        let own = folded(name);
        self.columns.iter().position(|c| c.name == own).ok_or_else(|| {
            let error =
                Error::new("42703", format!("column \"{own}\" of relation \"{}\" does not exist", self.object.name));
            match name.span.start.column {
                0 => error,
                column => error.at(column as usize),
            }
        })
    }

    /// Indices of the columns a statement names; all of them if it names none.
    pub fn named(&self, names: &[Ident]) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Ok((0..self.columns.len()).collect());
        }
        let mut named = vec![];
        for name in names {
            let index = self.column(name)?;
            if named.contains(&index) {
                return Err(Error::new("42701", format!("column \"{}\" specified more than once", folded(name))));
            }
            named.push(index);
        }
        Ok(named)
    }

    /// What is assigned to one of its columns.
    pub fn slot(&self, index: usize) -> Slot {
        let Column { name, kind, .. } = &self.columns[index];
        Slot { name: name.clone(), kind: Kind::of(kind) }
    }

    /// Of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// The key columns of whole rows.
    pub fn keys(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        rows.project(&self.key).map_err(|e| Error::internal(e.to_string()))
    }
}

/// Names are qualified with `public` or not at all.
pub fn relation_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "public" => Ok(name.clone()),
        [schema, _] => Err(Error::new("42809", format!("relations of schema \"{schema}\" cannot be changed"))),
        _ => Err(Error::undefined_relation(&name.to_string())),
    }
}

/// A type to which a value is cast before it is stored. Lengths are checked later: a cast would cut.
pub fn stored(kind: &Type) -> String {
    match kind {
        Type::Varchar(_) | Type::Char(_) => "TEXT".into(),
        kind => kind.to_string(),
    }
}

impl Session {
    /// Refuses writing in a read-only transaction.
    pub(super) fn writable(&mut self, what: &str) -> Result<()> {
        if self.transaction()?.read_only {
            return Err(Error::new("25006", format!("cannot execute {what} in a read-only transaction")));
        }
        Ok(())
    }

    /// Waits for the turn to read and write `table`; returns the epoch to read at, at least.
    pub(super) async fn lock(&mut self, table: RelationId) -> Result<Epoch> {
        let transaction = self.transaction()?;
        if transaction.is_locked(table) {
            return Ok(Epoch::ZERO);
        }
        let holding = transaction.holds_locks();
        let limit = self.variables.duration("lock_timeout");
        let answer = self.ask(|reply| Request::Lock { tables: vec![table], reply });
        let wait = limit.or(holding.then_some(DEADLOCK));
        let answer = match wait {
            None => answer.await,
            Some(wait) => tokio::time::timeout(wait, answer).await.map_err(|_| match limit {
                Some(_) => Error::new("55P03", "canceling statement due to lock timeout"),
                None => Error::new("40P01", "deadlock detected")
                    .detail("The transaction holds the right to write one table and waited too long for another.")
                    .hint("Write tables in the same order in every transaction."),
            })?,
        };
        let (lock, epoch) = answer??;
        self.transaction()?.lock(&[table], lock);
        Ok(epoch)
    }

    /// Writes rows as they come; says how many.
    pub(super) async fn put(&mut self, target: &Target, mut rows: Rows) -> Result<usize> {
        let mut count = 0;
        while let Some(batch) = rows.next().await? {
            count += batch.num_rows();
            let rows = fit(&batch, 0, target)?;
            self.transaction()?.write(&target.object, Change::Put(rows))?;
        }
        Ok(count)
    }

    pub(super) async fn truncate(&mut self, truncate: &ast::Truncate) -> Result<Outcome> {
        self.writable("TRUNCATE")?;
        let catalog = self.catalog();
        let targets =
            truncate.table_names.iter().map(|t| Target::find(&catalog, &t.name)).collect::<Result<Vec<_>>>()?;
        for target in targets {
            self.lock(target.id()).await?;
            self.transaction()?.write(&target.object, Change::Truncate)?;
        }
        Ok(Outcome::Done("TRUNCATE TABLE".into()))
    }
}

/// Columns `from..` of a result as rows of a table: of its exact types, no longer than allowed, without NULL where it must not be.
pub fn fit(batch: &RecordBatch, from: usize, target: &Target) -> Result<RecordBatch> {
    let arrays = target
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let array = typed(batch.column(from + index), column)?;
            let array = match column.kind {
                Type::Varchar(Some(n)) => limited(&array, n as usize, &column.kind)?,
                Type::Char(n @ 1..) => trimmed(&limited(&array, n as usize, &column.kind)?),
                _ => array,
            };
            if !column.nullable && array.null_count() > 0 {
                return Err(Error::new(
                    "23502",
                    format!(
                        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                        column.name,
                        target.name()
                    ),
                ));
            }
            Ok(array)
        })
        .collect::<Result<Vec<_>>>()?;
    rows(&target.columns, arrays)
}

/// Columns `from..` of a result as they were read from the table: `columns` of it.
pub fn read(batch: &RecordBatch, from: usize, columns: &[Column]) -> Result<RecordBatch> {
    let arrays = columns.iter().enumerate().map(|(index, column)| typed(batch.column(from + index), column));
    rows(columns, arrays.collect::<Result<_>>()?)
}

fn rows(columns: &[Column], arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let schema = Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays).map_err(|e| Error::internal(e.to_string()))
}

/// A column in the Arrow type of `column`.
fn typed(array: &ArrayRef, column: &Column) -> Result<ArrayRef> {
    let wanted = column.kind.arrow();
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    // A numeric is held as what it came of.
    if let Ok(held @ Type::Numeric(_)) = Type::of(&Field::new("", array.data_type().clone(), true))
        && matches!(column.kind, Type::Numeric(_))
    {
        return cast::column(array, &held, &column.kind, Zone::UTC);
    }
    let safe = arrow::compute::CastOptions { safe: false, ..Default::default() };
    arrow::compute::cast_with_options(array, &wanted, &safe).map_err(|_| {
        Error::new("42804", format!("column \"{}\" is of type {}", column.name, column.kind))
            .hint("You will need to rewrite or cast the expression.")
    })
}

/// How many rows there are.
pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// As Postgres assigns to `varchar(n)` and `char(n)`: blanks beyond the length go, anything else is an error.
fn limited(array: &ArrayRef, length: usize, kind: &Type) -> Result<ArrayRef> {
    let one = |text: &str| {
        if text.chars().skip(length).any(|c| c != ' ') {
            return Err(Error::new("22001", format!("value too long for type {kind}")));
        }
        Ok(text.chars().take(length).collect::<String>())
    };
    let texts = array.as_string::<i32>().iter().map(|text| text.map(one).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// The last row of every key, by the key columns in `keys`: which rows of each batch.
pub fn last_rows(keys: &[RecordBatch]) -> Result<Vec<UInt32Array>> {
    let encoded = keys.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    let mut kept: Vec<UInt32Array> = encoded
        .iter()
        .rev()
        .map(|keys| {
            let last = (0..keys.len()).rev().filter(|row| seen.insert(keys.get(*row))).map(|row| row as u32);
            let mut last: Vec<u32> = last.collect();
            last.reverse();
            last.into()
        })
        .collect();
    kept.reverse();
    Ok(kept)
}

/// The first row of every key: which rows of each batch.
pub fn first_rows(keys: &[RecordBatch]) -> Result<Vec<UInt32Array>> {
    let encoded = keys.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    let mut first = |keys| -> UInt32Array {
        let keys: &_ = keys;
        let rows = 0..Keys::len(keys);
        rows.filter(|row| seen.insert(keys.get(*row))).map(|row| row as u32).collect::<Vec<_>>().into()
    };
    let mut kept = vec![];
    for keys in &encoded {
        kept.push(first(keys));
    }
    Ok(kept)
}

fn encode(keys: &RecordBatch) -> Result<Keys> {
    Keys::of(keys, &(0..keys.num_columns()).collect::<Vec<_>>()).map_err(|e| Error::internal(e.to_string()))
}

/// Some rows of each batch.
pub fn take(batches: &[RecordBatch], rows: &[UInt32Array]) -> Result<Vec<RecordBatch>> {
    let some = |(batch, rows): (&RecordBatch, &UInt32Array)| arrow::compute::take_record_batch(batch, rows);
    let taken = batches.iter().zip(rows).map(some).collect::<std::result::Result<Vec<_>, _>>();
    taken.map_err(|e| Error::internal(e.to_string()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalog::{Life, TableBody};

    pub fn target(columns: Vec<(&str, Type, bool)>, key: Vec<usize>) -> Target {
        let columns: Vec<Column> =
            columns.into_iter().map(|(name, kind, nullable)| Column { name: name.into(), kind, nullable }).collect();
        let body = TableBody {
            columns: columns.clone(),
            key: Some(key.clone()),
            arrangements: vec![],
            upstream: None,
            stopped: None,
        };
        let body = Body::Table(body);
        let object = Object { id: 1, name: "t".into(), life: Life::Live, definition: "".into(), created_at: 0, body };
        Target { object, columns, key }
    }

    fn fitted(kind: Type, nullable: bool, values: Vec<Option<&str>>) -> Result<Vec<Option<String>>> {
        let target = target(vec![("c", kind, nullable)], vec![]);
        let batch =
            RecordBatch::try_from_iter_with_nullable([("x", Arc::new(StringArray::from(values)) as ArrayRef, true)]);
        let rows = fit(&batch.expect("a batch"), 0, &target)?;
        Ok(rows.column(0).as_string::<i32>().iter().map(|t| t.map(String::from)).collect())
    }

    #[test]
    fn text_that_is_too_long_is_refused_and_blanks_are_cut() {
        assert_eq!(
            fitted(Type::Varchar(Some(2)), true, vec![Some("éa "), None]).expect("fits"),
            [Some("éa".into()), None]
        );
        let error = fitted(Type::Varchar(Some(2)), true, vec![Some("abc")]).expect_err("too long");
        assert_eq!((error.sqlstate, error.message.as_str()), ("22001", "value too long for type character varying(2)"));
    }

    #[test]
    fn char_is_held_without_blanks() {
        assert_eq!(fitted(Type::Char(3), true, vec![Some("a     ")]).expect("fits"), [Some("a".into())]);
    }

    #[test]
    fn null_is_refused_where_it_must_not_be() {
        let error = fitted(Type::Text, false, vec![None]).expect_err("null");
        assert_eq!(error.sqlstate, "23502");
        assert!(error.message.contains("column \"c\" of relation \"t\""));
    }
}
