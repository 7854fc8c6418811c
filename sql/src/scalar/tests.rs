//! SQL expressions stored, read back, compiled and run over rows of which some fail.

use super::*;
use crate::Result;
use crate::session::{Settings, prepare, state};
use crate::types::Type;
use crate::{error, statement};
use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

/// Columns a, b (integers) and s (text).
fn rows(a: &[Option<i32>], b: &[Option<i32>], s: &[Option<&str>]) -> RecordBatch {
    let fields = [("a", Type::Int4), ("b", Type::Int4), ("s", Type::Text)].map(|(name, kind)| kind.field(name, true));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(a.to_vec())),
        Arc::new(Int32Array::from(b.to_vec())),
        Arc::new(StringArray::from(s.to_vec())),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
}

fn sample() -> RecordBatch {
    let a = [Some(0), Some(2), None, Some(5), Some(0)];
    rows(&a, &[Some(10), Some(7), Some(1), Some(i32::MAX), None], &[Some("12"), Some("x"), None, Some("3"), Some("")])
}

/// The select list of `sql` over `rows`, stored and read back.
fn stored(sql: &str, rows: &RecordBatch) -> Result<Vec<Scalar>> {
    let statement::Statement::Query(mut query) = statement::parse(sql)?.remove(0).statement else { panic!("{sql}") };
    prepare(&mut query)?;
    let context = SessionContext::new_with_state(state(&Settings::default(), None));
    let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]])?;
    context.register_table("t", Arc::new(table))?;
    let statement = datafusion::sql::parser::Statement::Statement(Box::new(ast::Statement::Query(query)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let plan =
        runtime.block_on(context.state().statement_to_plan(statement)).map_err(error::datafusion::from_datafusion)?;
    let plan = context.state().analyzer().execute_and_check(plan, context.state().config_options(), |_, _| {})?;
    let LogicalPlan::Projection(projection) = plan else { panic!("{plan}") };
    let scalars = projection.expr.iter().map(|expr| Scalar::from_logical(expr, projection.input.schema()));
    let scalars = scalars.collect::<Result<Vec<_>>>()?;
    let mut writer = flat::Writer::default();
    let places = writer.all(&scalars);
    let bytes = serde_json::to_vec(&writer.finish()).unwrap();
    let mut reader = flat::Reader::new(serde_json::from_slice(&bytes).unwrap())?;
    let read = reader.all(places)?;
    reader.finish()?;
    assert_eq!(read, scalars, "{sql}");
    Ok(read)
}

/// What `sql` makes of the sample: its values by row, then `row:SQLSTATE` of the failures.
fn evaluated(sql: &str) -> String {
    let rows = sample();
    let scalars = match stored(&format!("SELECT {sql} FROM t"), &rows) {
        Ok(scalars) => scalars,
        Err(error) => return error.sqlstate.to_string(),
    };
    let result = Program::compile(&scalars, &rows.schema()).unwrap().evaluate(&rows);
    let kept = result.rows.as_ref().map_or(rows.num_rows(), Vec::len);
    let mut lines = vec![];
    for (scalar, column) in scalars.iter().zip(&result.columns) {
        assert_eq!(column.data_type(), &scalar.kind().arrow(), "{sql}");
        assert_eq!(column.len(), kept, "{sql}");
        let texts = crate::function::print::column(column, crate::function::zone::Zone::UTC).unwrap();
        lines.push(texts.iter().map(|text| text.unwrap_or("∅")).collect::<Vec<_>>().join(" "));
    }
    let failures: Vec<_> =
        result.failures.iter().map(|failure| format!("{}:{}", failure.row, failure.sqlstate)).collect();
    format!("{} {}", lines.join(" / "), failures.join(" ")).trim().to_string()
}

fn check(script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (sql, expected) = line.split_once("=>").unwrap();
        assert_eq!(evaluated(sql.trim()), expected.trim(), "{line}");
    }
}

#[test]
fn rows_that_fail_are_left_out_and_told() {
    check(
        "
        a + 1 => 1 3 ∅ 6 1
        b + 1 => 11 8 2 ∅ 3:22003
        b / a => 3 ∅ 429496729 ∅ 0:22012
        s::int => 12 ∅ 3 1:22P02 4:22P02
        b / a, s::int => ∅ 429496729 / ∅ 3 0:22012 1:22P02 4:22P02
        s::int, b / a => ∅ 3 / ∅ 429496729 0:22012 1:22P02 4:22P02
        1 / 0 => 0:22012 1:22012 2:22012 3:22012 4:22012
        ",
    );
}

#[test]
fn guards_keep_operands_from_failing() {
    check(
        "
        a <> 0 AND b / a > 3 => false false ∅ true false
        b / a > 3 AND a <> 0 => false false ∅ true false
        a = 0 OR b / a > 3 => true false ∅ true true
        CASE WHEN a <> 0 THEN b / a END => ∅ 3 ∅ 429496729 ∅
        CASE WHEN a = 0 THEN 0 ELSE b / a END => 0 3 ∅ 429496729 0
        coalesce(a, b / 0) => 0 2 5 0 2:22012
        coalesce(a, 10 / b) => 0 2 10 5 0
        CASE a WHEN 0 THEN 'none' WHEN 2 THEN 'two' ELSE s END => none two ∅ 3 none
        a IN (0, 10 / 5) => true true ∅ false true
        ",
    );
}

#[test]
fn expressions_of_every_kind_are_stored_and_run() {
    check(
        "
        a IS NULL, a IS NOT NULL => false false true false false / true true false true true
        (a = 0) IS TRUE => true false false false true
        (a = 0) IS NOT FALSE => true false true false true
        (a = 0) IS UNKNOWN => false false true false false
        NOT a = 0 => false true ∅ true false
        a BETWEEN 1 AND 4 => false true ∅ false false
        a NOT IN (2, 5) => true false ∅ false true
        s LIKE '1%' => true false ∅ false false
        s NOT ILIKE 'X' => true false ∅ true true
        s || '!' => 12! x! ∅ 3! !
        upper(s), length(s) => 12 X ∅ 3  / 2 1 ∅ 1 0
        a * 1.50 => 0.00 3.00 ∅ 7.50 0.00
        a / 4.0 => 0.00000000000000000000 0.50000000000000000000 ∅ 1.2500000000000000 0.00000000000000000000
        -a => 0 -2 ∅ -5 0
        a::text, 'x'::varchar(3) => 0 2 ∅ 5 0 / x x x x x
        a IS DISTINCT FROM b => true true true true true
        s ~ '^[0-9]+$' => true false ∅ true false
        date '2024-01-31' + a => 2024-01-31 2024-02-02 ∅ 2024-02-05 2024-01-31
        interval '1 day' * a => 00:00:00 2 days ∅ 5 days 00:00:00
        ",
    );
}

#[test]
fn what_changes_from_run_to_run_is_refused() {
    check(
        "
        now() => 0A000
        current_date => 0A000
        random() => 0A000
        gen_random_uuid() => 0A000
        ",
    );
}

#[test]
fn failures_name_the_expression_as_explain_prints_it() {
    let rows = sample();
    let scalars = stored("SELECT CASE WHEN a = 0 OR s IS NULL THEN b / a ELSE s::int + 1 END FROM t", &rows).unwrap();
    let result = Program::compile(&scalars, &rows.schema()).unwrap().evaluate(&rows);
    let shown = "CASE WHEN (a = 0) OR (s IS NULL) THEN (b / a) ELSE (s::integer + 1) END";
    assert_eq!(result.failures[0].expression, shown);
    assert_eq!(result.failures[0].message, "division by zero");
    let unnamed = "CASE WHEN (#0 = 0) OR (#2 IS NULL) THEN (#1 / #0) ELSE (#2::integer + 1) END";
    assert_eq!(scalars[0].to_string(), unnamed);
}

#[test]
fn many_failures_among_many_rows_are_all_found() {
    let count = 5000;
    let a: Vec<_> = (0..count).map(|row| Some(row % 7)).collect();
    let s: Vec<_> = (0..count).map(|_| Some("1")).collect();
    let rows = rows(&a, &a, &s);
    let scalars = stored("SELECT 100 / a, a FROM t", &rows).unwrap();
    let result = Program::compile(&scalars, &rows.schema()).unwrap().evaluate(&rows);
    let failed: Vec<_> = result.failures.iter().map(|failure| failure.row as i32).collect();
    assert_eq!(failed, (0..count).filter(|row| row % 7 == 0).collect::<Vec<_>>());
    let kept = result.columns[1].as_any().downcast_ref::<Int32Array>().unwrap();
    let expected: Vec<i32> = (0..count).filter(|row| row % 7 != 0).map(|row| row % 7).collect();
    assert_eq!(kept.values().to_vec(), expected);
    assert_eq!(result.rows.unwrap().len(), expected.len());
}

#[test]
fn a_batch_without_failures_keeps_its_columns_as_they_are() {
    let rows = sample();
    let scalars = stored("SELECT s, a FROM t", &rows).unwrap();
    let result = Program::compile(&scalars, &rows.schema()).unwrap().evaluate(&rows);
    assert!(result.rows.is_none() && result.failures.is_empty());
    assert_eq!(result.columns[0].to_data().buffers()[0].as_ptr(), rows.column(2).to_data().buffers()[0].as_ptr());
}

#[test]
fn an_unknown_field_or_variant_is_refused() {
    assert!(serde_json::from_str::<flat::Flat>(r#"{"Not":{"argument":0}}"#).is_ok());
    assert!(serde_json::from_str::<flat::Flat>(r#"{"Column":{"index":0,"kind":"Int4","extra":1}}"#).is_err());
    assert!(serde_json::from_str::<flat::Flat>(r#"{"Frobnicate":{}}"#).is_err());
}

/// What becomes of rows.
#[derive(Default)]
struct Pieces {
    /// Rows of each piece.
    rows: Vec<usize>,
    /// Of the results, by row.
    lengths: Vec<(usize, usize)>,
    failed: Vec<(usize, String)>,
}

/// `sql` over a hundred rows.
fn in_pieces(sql: &str, bytes: usize) -> Pieces {
    let numbers: Vec<Option<i32>> = (0..100).map(Some).collect();
    let rows = rows(&numbers, &numbers, &vec![Some("x"); 100]);
    let program = Program::compile(&stored(&format!("SELECT {sql} FROM t"), &rows).unwrap(), &rows.schema()).unwrap();
    let mut pieces = Pieces::default();
    let each = |range: std::ops::Range<usize>, evaluated: Evaluated| {
        pieces.rows.push(range.len());
        let failed = evaluated.failures.into_iter().map(|f| (range.start + f.row, f.sqlstate.to_string()));
        pieces.failed.extend(failed);
        let rows = evaluated.rows.unwrap_or_else(|| (0..range.len() as u32).collect());
        let texts = evaluated.columns[0].as_any().downcast_ref::<StringArray>().unwrap();
        let lengths = rows.iter().enumerate().map(|(at, row)| (range.start + *row as usize, texts.value(at).len()));
        pieces.lengths.extend(lengths);
        Ok(())
    };
    program.evaluate_in_pieces(&rows, bytes, each).unwrap();
    pieces
}

#[test]
fn results_that_are_large_come_in_pieces_whichever_rows_fail() {
    let expected = |length: fn(usize) -> usize| (0..100).map(|row| (row, length(row))).collect::<Vec<_>>();
    let found = in_pieces("repeat(s, a * 1000)", 100_000);
    assert_eq!((found.lengths, found.failed), (expected(|row| row * 1000), vec![]));
    assert!(found.rows.len() > 49 && found.rows.iter().sum::<usize>() == 100, "{:?}", found.rows);
    // One row takes what it takes.
    assert_eq!(in_pieces("repeat(s, a * 1000)", 10).lengths, expected(|row| row * 1000));
    assert_eq!(in_pieces("repeat(s, a)", 100_000).rows, [100]);
    let found = in_pieces("repeat(s, 1000 + 1 / (a % 7 - 3))", 20_000);
    assert!(found.rows.len() > 4, "{:?}", found.rows);
    let failing = (0..100).filter(|row| row % 7 == 3).map(|row| (row, "22012".to_string())).collect::<Vec<_>>();
    assert_eq!((found.lengths.len(), found.failed), (100 - failing.len(), failing));
}
