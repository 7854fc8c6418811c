//! Queries through the whole of DataFusion with our semantics; what is expected is PostgreSQL 15's answer.

use super::*;
use crate::error::Error;
use crate::function::print;
use crate::function::zone::Zone;
use crate::statement;
use crate::types::Type;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast;

const NOW: i64 = 1_704_112_496_789_000;

/// Lines of `expression => text`; `(SQLSTATE)` for errors, `∅` for NULL, rows separated by `|`, columns by a blank.
fn check(script: &str) {
    check_in(&Settings::default(), script);
}

fn check_in(settings: &Settings, script: &str) {
    let mut wrong = vec![];
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (query, expected) = line.split_once("=>").unwrap();
        let query = query.trim();
        let sql = match query.to_ascii_lowercase().starts_with("select") {
            true => query.to_string(),
            false => format!("SELECT {query}"),
        };
        let shown = match run(settings, &sql) {
            Ok(text) => text,
            Err(error) => format!("({})", error.sqlstate),
        };
        if shown != expected.trim() {
            let detail = run(settings, &sql).err().map(|error| error.to_string()).unwrap_or_default();
            wrong.push(format!("{line}\n    but: {shown} {detail}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run(settings: &Settings, sql: &str) -> Result<String, Error> {
    let mut parsed = statement::parse(sql)?;
    let statement::Statement::Query(mut query) = parsed.remove(0).statement else { panic!("{sql}") };
    prepare(&mut query)?;
    let context = SessionContext::new_with_state(state(settings, Some(NOW)));
    context.register_table("t", Arc::new(table()?)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(ast::Statement::Query(query)));
        let plan = context.state().statement_to_plan(statement).await?;
        context.execute_logical_plan(plan).await?.collect().await
    })?;
    let zone = Zone::parse(&settings.timezone)?;
    let mut rows = vec![];
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let mut values = vec![];
            for column in batch.columns() {
                let mut text = String::new();
                match column.logical_nulls().is_some_and(|nulls| nulls.is_null(row)) {
                    true => text.push('∅'),
                    false => print::printer(column, zone)?(row, &mut text)?,
                }
                values.push(text);
            }
            rows.push(values.join(" "));
        }
    }
    Ok(rows.join("|"))
}

/// Three rows of every type: the text of [`ROWS`], cast.
fn table() -> Result<MemTable, Error> {
    let mut fields = vec![];
    let mut columns = vec![];
    for (name, kind, texts) in ROWS {
        let strings: arrow::array::ArrayRef = Arc::new(arrow::array::StringArray::from(texts.to_vec()));
        columns.push(crate::function::cast::column(&strings, &Type::Text, kind, Zone::UTC)?);
        fields.push(kind.field(name, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(MemTable::try_new(schema, vec![vec![batch]])?)
}

const ROWS: &[(&str, Type, [Option<&str>; 3])] = &[
    ("i2", Type::Int2, [Some("1"), Some("32767"), None]),
    ("i4", Type::Int4, [Some("7"), Some("2147483647"), None]),
    ("i8", Type::Int8, [Some("-3"), Some("9223372036854775807"), None]),
    ("f4", Type::Float4, [Some("0.5"), Some("3e38"), None]),
    ("f8", Type::Float8, [Some("2.5"), Some("1e308"), None]),
    ("d", Type::Numeric(Some((10, 2))), [Some("1.50"), Some("-12345678.90"), None]),
    ("n", Type::Numeric(None), [Some("1.50"), Some("1.5"), None]),
    ("s", Type::Text, [Some("abc"), Some(""), None]),
    ("dt", Type::Date, [Some("2024-01-31"), Some("1999-12-31"), None]),
    ("ts", Type::Timestamp, [Some("2024-01-31 12:30:00"), Some("1999-12-31 23:59:59.5"), None]),
    ("tz", Type::Timestamptz, [Some("2024-01-31 12:30:00Z"), Some("2024-07-01 00:00:00Z"), None]),
    ("b", Type::Bool, [Some("t"), Some("f"), None]),
];

#[test]
fn arithmetic_has_postgres_types_and_errors() {
    check(
        "
        1 + 1 => 2
        i4 + 1 FROM t WHERE i4 = 7 => 8
        i4 + 1 FROM t => (22003)
        i2 + i2 FROM t => (22003)
        i2 + 1 FROM t => 2|32768|∅
        i8 * 2 FROM t => (22003)
        7 / 2 => 3
        -7 / 2 => -3
        -7 % 3 => -1
        1 / 0 => (22012)
        1.0 / 0 => (22012)
        1 / 0.0::float8 => (22012)
        2147483647 + 1 => (22003)
        -(-2147483648) => (22003)
        abs(-5) => 5
        1.5 + 2.25 => 3.75
        1.10 * 2.5 => 2.750
        1 / 3.0 => 0.33333333333333333333
        10.0 / 4 => 2.5000000000000000
        7.5 % 2 => 1.5
        d + 1 FROM t => 2.50|-12345677.90|∅
        d * d FROM t => 2.2500|152415787501905.2100|∅
        d / 3 FROM t => 0.50000000000000000000|-4115226.300000000000|∅
        n + d FROM t => 3.00|-12345677.40|∅
        n + i4 FROM t WHERE i4 = 7 => 8.50
        n * f8 FROM t WHERE i4 = 7 => 3.75
        f8 * 10 FROM t => (22003)
        f4 * 10 FROM t WHERE i4 = 7 => 5
        -n FROM t => -1.50|-1.5|∅
        -d FROM t => -1.50|12345678.90|∅
        9223372036854775808 => 9223372036854775808
        99999999999 => 99999999999
        1 + NULL => ∅
        s + 1 FROM t => (42883)
        '3' + 4 => 7
        '1.5' + 4.25 => 5.75
        2.0::float8 / 3 => 0.6666666666666666
        mod(7, 3) => 1
        ",
    );
}

#[test]
fn what_can_fail_is_guarded_row_by_row() {
    check(
        "
        SELECT i2 FROM t WHERE i4 <> 7 AND 10 / (i4 - 7) = 0 => 32767
        SELECT i2 FROM t WHERE i4 > 7 AND 10 / (i4 - 7) = 0 => 32767
        SELECT i2 FROM t WHERE i4 IS NOT NULL AND CASE WHEN i4 <> 7 THEN 10 / (i4 - 7) = 0 END => 32767
        SELECT count(*) FROM t WHERE i4 = 7 OR 10 / (i4 - 7) = 0 => 2
        SELECT i4 <> 7 AND 10 / (i4 - 7) = 0 FROM t => false|true|∅
        SELECT i4 = 7 OR 10 / (i4 - 7) = 0 FROM t => true|true|∅
        SELECT coalesce(i2, 10 / (i4 - 7)) FROM t => 1|32767|∅
        SELECT count(*) FROM t a JOIN t b ON a.i2 = b.i2 AND a.i4 <> 7 AND b.i2 / (a.i4 - 7) = 0 => 1
        SELECT sum(10 / (i4 - 7)) FILTER (WHERE i4 <> 7) FROM t => 0
        SELECT count(DISTINCT 10 / (i4 - 7)) FILTER (WHERE i4 <> 7) FROM t => 1
        SELECT i2 FROM t WHERE 10 / (i4 - 7) = 0 => (22012)
        ",
    );
}

#[test]
fn text_is_read_as_arrays_and_json() {
    check(
        r#"
        '{1, 2,NULL}'::int[] => {1,2,NULL}
        '{a,"b c",NULL,"NULL"}'::text[] => {a,"b c",NULL,"NULL"}
        '{1.10,2.5}'::numeric[] => {1.10,2.5}
        '{2024-02-29}'::date[] => {2024-02-29}
        '{x}'::int[] => (22P02)
        '{1'::int[] => (22P02)
        '{"b": 1.0,"a":[true,null]}'::jsonb => {"a": [true, null], "b": 1.0}
        '{"b": 1.0,"a":2}'::json => {"b": 1.0,"a":2}
        '{b: 1}'::jsonb => (22P02)
        '{b: 1}'::json => (22P02)
        cardinality('{1,2}'::int[]) => 2
        array_length('{1,2}'::int[], 1) => 2
        array_length('{}'::int[], 1) => ∅
        array_upper('{1,2}'::int[], 2) => ∅
        "#,
    );
}

#[test]
fn columns_that_an_alias_does_not_name_keep_their_names() {
    check(
        "
        SELECT x.a FROM (SELECT 1 AS a, 2 AS b, 3 AS c) AS x (b) => (42703)
        SELECT * FROM (SELECT 1 AS a, 2 AS b, 3 AS c) AS x (b) => 1 2 3
        SELECT x.y + x.c FROM (SELECT 1 AS a, 2 AS b, 3 AS c) AS x (y, z) => 4
        SELECT x.first FROM t AS x (first) => 1|32767|∅
        SELECT x.i2 FROM t AS x (first) => (42703)
        SELECT 1 FROM (SELECT 1 AS a) AS x (b, c) => (42P10)
        ",
    );
}

#[test]
fn comparisons_are_by_value() {
    check(
        "
        1.0 = 1.00 => true
        SELECT count(*) FROM t WHERE n = 1.5 => 2
        SELECT count(*) FROM t WHERE n > 1 => 2
        SELECT count(*) FROM t WHERE n BETWEEN 1 AND 1.50 => 2
        SELECT count(*) FROM t WHERE n IN (1, 1.500) => 2
        SELECT count(*) FROM t WHERE n IN ('1.500') => 2
        SELECT count(*) FROM t WHERE d = n => 1
        SELECT count(*) FROM t WHERE d > 1.499 => 1
        SELECT count(*) FROM t WHERE f8 > 2.4 => 2
        SELECT count(*) FROM t WHERE i8 = 9223372036854775807.0 => 1
        SELECT count(*) FROM t WHERE i4 = '7' => 1
        SELECT count(*) FROM t WHERE i4 = 'x' => (22P02)
        SELECT count(*) FROM t WHERE s = 1 => (42883)
        SELECT count(*) FROM t WHERE dt > '2000-01-01' => 1
        SELECT count(*) FROM t WHERE ts >= dt => 2
        SELECT count(*) FROM t WHERE i4 IS DISTINCT FROM 7 => 2
        SELECT count(*) FROM t a JOIN t b ON a.n = b.n => 4
        SELECT count(*) FROM t a JOIN t b ON a.n = b.d => 2
        SELECT count(*) FROM t WHERE n IN (SELECT d FROM t) => 2
        SELECT count(*) FROM t WHERE i4 IN (SELECT i2 + 6 FROM t) => 1
        SELECT n, count(*) FROM t WHERE n IS NOT NULL GROUP BY n => 1.5 2
        SELECT DISTINCT n FROM t WHERE n IS NOT NULL => 1.5
        SELECT count(DISTINCT n) FROM t => 1
        SELECT i4 FROM t ORDER BY n, i4 DESC => 2147483647|7|∅
        'NaN'::float8 = 'NaN'::float8 => true
        'NaN'::numeric > 'Infinity'::numeric => true
        nullif(1, 1.0) => ∅
        nullif(2, 1) => 2
        coalesce(NULL, 1.50) => 1.50
        coalesce(i4, 0) FROM t => 7|2147483647|0
        greatest(1, 2.5) => 2.5
        interval '1 month' = interval '30 days' => true
        CASE WHEN true THEN 1 ELSE 2.5 END => 1
        CASE 1.0 WHEN 1 THEN 'one' ELSE 'more' END => one
        ",
    );
}

#[test]
fn casts_round_and_refuse_as_postgres_does() {
    check(
        "
        '12'::int => 12
        'abc'::int => (22P02)
        s::int FROM t => (22P02)
        '99999999999'::int => (22003)
        2.5::int => 3
        -2.5::int => -3
        2.5::float8::int => 2
        3.5::float8::int => 4
        1e20::float8::int8 => (22003)
        99999::int2 => (22003)
        'yes'::bool => true
        'maybe'::bool => (22P02)
        true::text => true
        1::bool => true
        1e20::float8::text => 1e+20
        0.0000001::float8::text => 1e-07
        'Infinity'::float8::text => Infinity
        'hello'::varchar(3) => hel
        '1.2345'::numeric(10,2) => 1.23
        1.005::numeric(10,2) => 1.01
        '123456'::numeric(5,2) => (22003)
        '1e5'::numeric => 100000
        1.50::numeric::text => 1.50
        0.1::float8::numeric => 0.1
        '2024-02-30'::date => (22008)
        'garbage'::date => (22007)
        '2024-01-31 12:34:56.789'::timestamp::date => 2024-01-31
        '2024-01-31'::date::timestamp => 2024-01-31 00:00:00
        '2024-01-31 12:00+02'::timestamptz => 2024-01-31 10:00:00+00
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380A11'::uuid => a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
        '\\x4142'::bytea => \\x4142
        now() => 2024-01-01 12:34:56.789+00
        current_date => 2024-01-01
        i4::text || 'x' FROM t WHERE i4 = 7 => 7x
        1 || 'x' => 1x
        ",
    );
}

#[test]
fn moments_depend_on_the_zone_of_the_session() {
    let berlin = Settings { timezone: "Europe/Berlin".into(), ..Settings::default() };
    check_in(
        &berlin,
        "
        tz FROM t => 2024-01-31 13:30:00+01|2024-07-01 02:00:00+02|∅
        tz::text FROM t WHERE i4 = 7 => 2024-01-31 13:30:00+01
        tz::date FROM t => 2024-01-31|2024-07-01|∅
        ts::timestamptz FROM t WHERE i4 = 7 => 2024-01-31 12:30:00+01
        '2024-07-01 12:00'::timestamptz => 2024-07-01 12:00:00+02
        now() => 2024-01-01 13:34:56.789+01
        ",
    );
}

#[test]
fn dates_and_intervals_add_up_on_the_calendar() {
    check(
        "
        dt + 1 FROM t => 2024-02-01|2000-01-01|∅
        dt - dt FROM t => 0|0|∅
        dt + interval '1 month' FROM t => 2024-02-29 00:00:00|2000-01-31 00:00:00|∅
        ts - interval '1 day 1 hour' FROM t WHERE i4 = 7 => 2024-01-30 11:30:00
        ts - ts FROM t WHERE i4 = 7 => 00:00:00
        ts - '2024-01-01' FROM t WHERE i4 = 7 => 30 days 12:30:00
        interval '1 day' * 1.5 => 1 day 12:00:00
        interval '1 month' / 2 => 15 days
        -interval '1 day' => -1 days
        ",
    );
}

#[test]
fn mathematics_has_postgres_types_and_errors() {
    check(
        "
        -1e308::float8 => -1e+308
        1e308::float8 => 1e+308
        2.2250738585072014e-308::float8 => 2.2250738585072014e-308
        4.9406564584124654417656879286822137236505980e-324::float8 => 5e-324
        0.1::float8 < 1e300 => true
        1e400::float8 => (22003)
        1e100 * 10 => 100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
        round(1.005, 2) => 1.01
        round(2.5) => 3
        round(-2.5) => -3
        round(2.5::float8) => 2
        round(15, -1) => 20
        round(1234.5678, -2) => 1200
        round(2.5::float8, 1) => (42883)
        trunc(-1.99) => -1
        trunc(1.999, 2) => 1.99
        trunc(-1.9::float8) => -1
        ceil(1.1) => 2
        ceiling(-1.1) => -1
        floor(-1.1) => -2
        ceil(7) => 7
        sign(-2.50) => -1
        sign(-2) => -1
        sign('NaN'::float8) => 0
        abs(-1.50) => 1.50
        mod(7.5, 2) => 1.5
        div(7.5, 2) => 3
        div(-7, 2) => -3
        sqrt(2) => 1.4142135623730951
        sqrt(2.0) => 1.414213562373095
        sqrt(-1) => (2201F)
        sqrt(-1.0) => (2201F)
        exp(1) => 2.718281828459045
        exp(1.0) => 2.7182818284590452
        exp(1000) => (22003)
        exp(-1000) => (22003)
        ln(10) => 2.302585092994046
        ln(10.0) => 2.3025850929940457
        ln(0) => (2201E)
        ln(0.0) => (2201E)
        ln(-1.0) => (2201E)
        log(100) => 2
        log(100.0) => 2.0000000000000000
        log(2, 8) => 3.0000000000000000
        log(2.0::float8, 8) => (42883)
        log10(1000) => 3
        power(2, 10) => 1024
        power(2.0, 10) => 1024.0000000000000000
        power(2.0::float8, 0.5) => 1.4142135623730951
        power(0, -1) => (2201F)
        power(-8, 0.5) => (2201F)
        power(10, 400) => (22003)
        pow(2, 0.5) => 1.4142135623730950
        2 ^ 10 => 1024
        2.0 ^ 0.5 => 1.4142135623730950
        trim_scale(1.500) => 1.5
        trim_scale(10) => 10
        scale(1.500) => 3
        min_scale(1.500) => 1
        degrees(pi()) => 180
        radians(180) => 3.141592653589793
        sin(0) => 0
        cos(1) => 0.5403023058681398
        acos(2) => (22003)
        atan2(1, 1) => 0.7853981633974483
        sin('Infinity'::float8) => (22003)
        ",
    );
}

#[test]
fn moments_are_taken_apart_and_written() {
    check(
        "
        extract(year FROM timestamp '2024-01-31 12:30:00') => 2024
        extract(second FROM timestamp '2024-01-31 12:30:05.25') => 5.250000
        extract(milliseconds FROM time '12:30:05.25') => 5250.000
        extract(epoch FROM timestamptz '2024-01-31 12:30:00Z') => 1706704200.000000
        extract(hour FROM timestamptz '2024-01-31 12:30:00Z') => 12
        extract(epoch FROM date '2024-01-31') => 1706659200
        extract(hour FROM date '2024-01-31') => (0A000)
        extract(hour FROM interval '1 day 30:15:00') => 30
        extract(epoch FROM interval '1 year 2 months 3 days 4 hours') => 37015200.000000
        extract(quarter FROM date '2024-05-01') => 2
        extract(week FROM date '2021-01-03') => 53
        extract(isoyear FROM date '2021-01-03') => 2020
        extract(isodow FROM date '2021-01-03') => 7
        extract(doy FROM date '2024-12-31') => 366
        extract(century FROM date '2000-12-31') => 20
        extract(decade FROM date '0044-03-15 BC') => -5
        extract(julian FROM timestamp '2024-01-01 06:00') => 2460311.25000000000000000000
        extract(year FROM timestamp 'infinity') => Infinity
        extract(month FROM timestamp 'infinity') => ∅
        extract(nonsense FROM date '2024-01-01') => (22023)
        date_part('hour', timestamp '2024-01-31 12:30:00') => 12
        date_part('epoch', timestamp '2024-01-31 12:30:00.5') => 1706704200.5
        date_part('hour', date '2024-01-31') => 0
        date_part('hour', timestamptz '2024-01-31 12:30:00Z') => 12
        date_trunc('month', timestamp '2024-02-29 12:34:56') => 2024-02-01 00:00:00
        date_trunc('week', timestamp '2024-02-29 12:34:56') => 2024-02-26 00:00:00
        date_trunc('day', timestamptz '2024-02-29 23:34:56Z') => 2024-02-29 00:00:00+00
        date_trunc('quarter', date '2024-05-29') => 2024-04-01 00:00:00+00
        date_trunc('hour', interval '1 day 03:45:00') => 1 day 03:00:00
        date_trunc('century', timestamp '2024-02-29 12:34:56') => 2001-01-01 00:00:00
        date_trunc('decade', timestamp '2024-02-29 12:34:56') => 2020-01-01 00:00:00
        date_trunc('week', interval '1 day') => (0A000)
        date_trunc('day', timestamp '-infinity') => -infinity
        age(timestamp '2024-03-01', timestamp '2024-01-31') => 1 mon 1 day
        age(timestamp '2024-01-31', timestamp '2024-03-01 12:00') => -1 mons -1 days -12:00:00
        age(date '2024-03-31', date '2023-02-28') => 1 year 1 mon 3 days
        make_date(2024, 2, 29) => 2024-02-29
        make_date(2023, 2, 29) => (22008)
        make_date(-44, 3, 15) => 0044-03-15 BC
        timestamp '2024-01-01 12:00' AT TIME ZONE 'Europe/Berlin' => 2024-01-01 11:00:00+00
        timestamptz '2024-01-01 12:00Z' AT TIME ZONE 'Europe/Berlin' => 2024-01-01 13:00:00
        timestamp '2024-01-31 12:30' + time '01:15' => 2024-01-31 13:45:00
        time '01:15' + timestamp '2024-01-31 12:30' => 2024-01-31 13:45:00
        timestamp '2024-01-31 12:30' - time '01:15' => 2024-01-31 11:15:00
        timestamptz '2024-01-31 12:30Z' + time '01:15' => 2024-01-31 13:45:00+00
        date '2024-01-31' + time '01:15' => 2024-01-31 01:15:00
        date '2024-01-31' - time '01:15' => 2024-01-30 22:45:00
        time '01:15' + date '2024-01-31' => 2024-01-31 01:15:00
        to_char(timestamp '2024-03-05 14:07:09.123456', 'YYYY-MM-DD HH24:MI:SS.US') => 2024-03-05 14:07:09.123456
        to_char(timestamp '2024-03-05 14:07:09', 'FMDay, FMDD. Month YY \"at\" HH12:MI am') => Tuesday, 5. March     24 at 02:07 pm
        to_char(date '2024-03-05', 'Dy DDDth WW IW Q FMMonth FMDDth CC J') => Tue 065th 10 10 1 March 5th 21 2460375
        to_char(timestamptz '2024-03-05 14:07:09Z', 'HH24:MI TZH OF') => 14:07 +00 +00
        to_char(date '0044-03-15 BC', 'YYYY BC, Y,YYY') => 0044 BC, 0,044
        to_char(timestamp 'infinity', 'YYYY') => ∅
        ",
    );
    let berlin = Settings { timezone: "Europe/Berlin".into(), ..Settings::default() };
    check_in(
        &berlin,
        "
        extract(epoch FROM timestamptz '2024-01-31 12:30:00Z') => 1706704200.000000
        extract(hour FROM timestamptz '2024-01-31 12:30:00Z') => 13
        date_part('hour', timestamptz '2024-01-31 12:30:00Z') => 13
        date_trunc('day', timestamptz '2024-02-29 23:34:56Z') => 2024-03-01 00:00:00+01
        timestamptz '2024-01-01 12:00Z' AT TIME ZONE 'Europe/Berlin' => 2024-01-01 13:00:00
        timestamptz '2024-01-31 12:30Z' + time '01:15' => 2024-01-31 14:45:00+01
        to_char(timestamptz '2024-03-05 14:07:09Z', 'HH24:MI TZH OF') => 15:07 +01 +01
        ",
    );
}

#[test]
fn text_has_the_case_of_collation_c_and_is_formatted() {
    check(
        "
        format('%s-%s', 1, 'x') => 1-x
        format('%2$s %1$s %%', 'a', 'b') => b a %
        format('[%5s] [%-5s] %L %I', 'a', 'b', 'it''s', 'Mixed') => [    a] [b    ] 'it''s' \"Mixed\"
        format('%L', NULL) => NULL
        '[' || format('%s', NULL) || ']' => []
        format('%I', NULL) => (22004)
        format('%s %s', 1) => (22023)
        format('%q', 1) => (22023)
        format('no', 1) => no
        quote_literal('o''k') => 'o''k'
        quote_literal(1.50) => '1.50'
        quote_literal('a\\b') => E'a\\\\b'
        upper('żółw aB1') => żółW AB1
        initcap('hello wORLD-x 2nd') => Hello World-X 2nd
        lower(NULL) => ∅
        ",
    );
}

#[test]
fn counts_are_signed_and_as_wide_as_in_postgres() {
    check(
        "
        SELECT row_number() OVER (ORDER BY i4) FROM t => 1|2|3
        SELECT row_number() OVER (ORDER BY i4) + 2147483647 FROM t LIMIT 1 => 2147483648
        SELECT n + 2147483647 FROM (SELECT ntile(2) OVER (ORDER BY i4) AS n FROM t) q LIMIT 1 => (22003)
        SELECT n FROM (SELECT rank() OVER (ORDER BY b) AS n FROM t UNION ALL SELECT 7) q ORDER BY n => 1|2|3|7
        array_length(ARRAY[1, 2], 1) + 2147483647 => (22003)
        char_length('abc') + 2147483647 => (22003)
        position('b' IN 'abc') + 2147483647 => (22003)
        array_length(ARRAY[1, 2], 1) + 1 => 3
        SELECT sum(v), avg(v) FROM (VALUES (interval '1 mon'), (interval '1 day'), (NULL)) AS x (v) => 1 mon 1 day 15 days 12:00:00
        SELECT sum(v) FROM (VALUES (interval '2000000000 days'), (interval '2000000000 days')) AS x (v) => (22008)
        SELECT sum(v) OVER (ORDER BY v ROWS 1 PRECEDING) FROM (VALUES (interval '1 h'), (interval '2 h'), (interval '4 h')) AS x (v) => 01:00:00|03:00:00|06:00:00
        ",
    );
}

#[test]
fn aggregates_have_postgres_types() {
    check(
        "
        sum(i2) FROM t => 32768
        sum(i4) FROM t => 2147483654
        sum(i8) FROM t => 9223372036854775804
        sum(d) FROM t => -12345677.40
        sum(n) FROM t => 3.00
        sum(f8) FROM t => 1e+308
        avg(i2) FROM t => 16384.000000000000
        avg(i4) FROM t WHERE i4 = 7 => 7.0000000000000000
        avg(d) FROM t => -6172838.700000000000
        avg(n) FROM t => 1.5000000000000000
        avg(f8) FROM t WHERE i4 = 7 => 2.5
        min(n) FROM t => 1.5
        max(n) FROM t => 1.50
        sum(i4) FROM t WHERE false => ∅
        count(*) FROM t => 3
        count(i4) FROM t => 2
        sum(DISTINCT n) FROM t => 1.5
        sum(i4) FILTER (WHERE i4 < 100) FROM t => 7
        sum(CASE WHEN i4 = 7 THEN d ELSE 0 END) FROM t => 1.50
        sum(s) FROM t => (42883)
        SELECT b, sum(i4), avg(n) FROM t GROUP BY b ORDER BY b => false 2147483647 1.50000000000000000000|true 7 1.50000000000000000000|∅ ∅ ∅
        SELECT x + 1 FROM (SELECT CASE WHEN b THEN 1 ELSE 2.5 END AS x FROM t) q => 2|3.5|3.5
        SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 2.5) q ORDER BY x => 1|2.5
        SELECT sum(i4) OVER (ORDER BY i4 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t WHERE i4 IS NOT NULL => 7|2147483654
        SELECT column1 + 1 FROM (VALUES (1), (2)) v => 2|3
        ",
    );
}

#[test]
fn values_that_are_named_more_than_once_are_evaluated_once_and_right() {
    check(
        "
        nullif(nullif(nullif(i4 + 0, 1), 2), i2 + 6) FROM t => ∅|2147483647|∅
        nullif(nullif(n + 1, n), n * 2) FROM t => 2.50|2.5|∅
        coalesce(coalesce(nullif(i4 + 0, 7), i2 + 1), 9) FROM t => 2|2147483647|9
        coalesce(abs(i4 - 7) + 1, 1 / (i2 - i2)) FROM t WHERE i4 IS NOT NULL => 1|2147483641
        CASE abs(i4 - 6) WHEN 1 THEN 'one' WHEN i2 THEN 'i2' ELSE 'none' END FROM t => one|none|none
        abs(i4 - 6) IN (2, i2, NULL) FROM t => true|∅|∅
        abs(i4 - 6) NOT IN (2, i2 + 1) FROM t => true|true|∅
        abs(i4 - 6) BETWEEN i2 AND 5 FROM t => true|false|∅
        concat(length(s || 'x') > 1, '!') FROM t => t!|f!|!
        CASE WHEN CASE WHEN CASE WHEN CASE WHEN i4 > 7 THEN 1 ELSE 0 END = 1 THEN 1 ELSE 0 END = 1 THEN 1 ELSE 0 END = 1 THEN i4 / (i4 - 7) ELSE i2 END FROM t => 1|1|∅
        abs(abs(abs(abs(abs(abs(abs(abs(CASE WHEN i4 = 7 THEN 1 ELSE 10 / (i4 - 7) END)))))))) FROM t => 1|0|∅
        ",
    );
}

#[test]
fn grouping_sets_group_what_is_grouped_by_its_bytes() {
    check(
        "
        SELECT f8, count(*) FROM t GROUP BY ROLLUP (f8) => (0A000)
        SELECT f4, count(*) FROM t GROUP BY CUBE (f4) => (0A000)
        SELECT n, count(*) FROM t GROUP BY GROUPING SETS ((n), ()) => (0A000)
        SELECT i4, sum(n) FROM t WHERE i4 IS NOT NULL GROUP BY ROLLUP (i4) ORDER BY i4 => 7 1.50|2147483647 1.5|∅ 3.00
        ",
    );
}
