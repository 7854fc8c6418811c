//! Expressions and what they are bound as, or PostgreSQL's error; without names of columns.

mod information;
mod queries;
mod subqueries;

use super::expression::Place;
use super::group::Groups;
use super::scope::Scope;
use super::{Binder, Relation, Relations};
use crate::bound::{Bound, Expr, Form, How, Kind, Test, Unbound, not_yet};
use crate::postgres::types::named;
use crate::session::{Settings, group};
use crate::statement::{Statement, parse};
use datafusion::sql::sqlparser::ast::{self, SelectItem, SetExpr};

struct Nothing;

impl Relations for Nothing {
    fn relation(&self, _: Option<&str>, name: &str) -> Bound<Relation> {
        not_yet(name)
    }
}

const BEFORE: &str = "SELECT ";

fn syntax(text: &str) -> ast::Expr {
    let parsed = parse(&format!("{BEFORE}{text}")).unwrap_or_else(|error| panic!("{text}: {error:?}")).remove(0);
    let Statement::Query(mut query) = parsed.statement else { panic!("{text} is an expression") };
    group(&mut query);
    let SetExpr::Select(mut select) = *query.body else { panic!("{text} is an expression") };
    match select.projection.remove(0) {
        SelectItem::UnnamedExpr(expr) => expr,
        other => panic!("{text} is {other}"),
    }
}

/// What `bind` makes of an expression, and the types of parameters after it; or the error with its position in `text`.
fn told(text: &str, zone: &str, bind: fn(&mut Binder, &ast::Expr, &mut Place) -> Bound<Expr>) -> String {
    told_by(&Nothing, text, zone, bind)
}

fn told_by(
    relations: &dyn Relations,
    text: &str,
    zone: &str,
    bind: fn(&mut Binder, &ast::Expr, &mut Place) -> Bound<Expr>,
) -> String {
    let settings = Settings { timezone: zone.into(), ..Settings::default() };
    let mut binder = Binder::new(&[], relations, &settings);
    let (scope, mut groups) = (Scope::default(), Groups::default());
    let mut place = Place { scope: &scope, clause: "WHERE", groups: Some(&mut groups) };
    match bind(&mut binder, &syntax(text), &mut place) {
        Ok(expr) => {
            let parameters: Vec<String> = match binder.parameters.finish() {
                Ok(kinds) => kinds.iter().map(Kind::to_string).collect(),
                Err(error) => vec![format!("{} {}", error.sqlstate, error.message)],
            };
            let aggregates = groups.aggregates.iter().map(|(id, aggregate)| {
                let distinct = if aggregate.distinct { "distinct " } else { "" };
                let filter = aggregate.filter.iter().map(|filter| format!(" filter {}", shown(filter)));
                let by = aggregate
                    .order
                    .iter()
                    .map(|by| format!(" by {} {}{}", shown(&by.by), by.descending as u8, by.nulls_first as u8));
                let extras: String = by.chain(filter).collect();
                format!("; #{} = {}({distinct}{}{extras})", id.0, aggregate.function.name, list(&aggregate.arguments))
            });
            let aggregates: String = aggregates.collect();
            match parameters.is_empty() {
                true => format!("{}{aggregates}", shown(&expr)),
                false => format!("{}{aggregates}; {}", shown(&expr), parameters.join(", ")),
            }
        }
        Err(Unbound::NotYet(construct)) => format!("not yet: {construct}"),
        Err(Unbound::Wrong(error)) => match error.position {
            Some(at) => format!("{} {} at {}", error.sqlstate, error.message, at - BEFORE.len()),
            None => format!("{} {}", error.sqlstate, error.message),
        },
    }
}

fn check(expected: &[(&str, &str)]) {
    for (text, expected) in expected {
        assert_eq!(told(text, "UTC", |binder, expr, place| binder.expression(expr, place)), *expected, "{text}");
    }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn kind_of(kind: Kind) -> String {
    let name = kind.oid.entry().map_or("?", |entry| entry.name);
    if kind.modifier < 0 { name.to_string() } else { format!("{name}({})", kind.modifier) }
}

/// Implicit casts as `a->int8`, written ones as `a::int8`.
fn shown(expr: &Expr) -> String {
    let not = |negated: &bool| if *negated { "not " } else { "" };
    match expr {
        Expr::Column { id, .. } => format!("#{}", id.0),
        Expr::Constant { value, kind } => {
            let value = value.as_ref().map_or("null".to_string(), |value| format!("'{value}'"));
            format!("{value}:{}", kind_of(*kind))
        }
        Expr::Parameter { number, kind } => format!("${number}:{}", kind_of(*kind)),
        Expr::Call { function, arguments, kind } => {
            format!("{}({}):{}", function.name, list(arguments), kind_of(*kind))
        }
        Expr::Operation { operator, operands, kind } => match &operands[..] {
            [operand] => format!("({} {}):{}", operator.name, shown(operand), kind_of(*kind)),
            operands => {
                let operands: Vec<String> = operands.iter().map(shown).collect();
                format!("({}):{}", operands.join(&format!(" {} ", operator.name)), kind_of(*kind))
            }
        },
        Expr::Cast { argument, kind, how: How::Implicit } => format!("{}->{}", shown(argument), kind_of(*kind)),
        Expr::Cast { argument, kind, how: How::Explicit } => format!("{}::{}", shown(argument), kind_of(*kind)),
        Expr::And(operands) => format!("and({})", list(operands)),
        Expr::Or(operands) => format!("or({})", list(operands)),
        Expr::Not(argument) => format!("not {}", shown(argument)),
        Expr::Is { argument, what, negated } => {
            let what = match what {
                Test::Null => "null",
                Test::True => "true",
                Test::False => "false",
                Test::Unknown => "unknown",
            };
            format!("({} is {}{what})", shown(argument), not(negated))
        }
        Expr::Distinct { left, right, negated, .. } => {
            format!("({} is {}distinct from {})", shown(left), not(negated), shown(right))
        }
        Expr::Case { operand, pairs, otherwise, kind } => {
            let operand = operand.as_ref().map(|operand| format!("{} ", shown(operand))).unwrap_or_default();
            let pairs = pairs.iter().map(|(when, then)| format!("{} ? {}", shown(when), shown(then)));
            let all: Vec<String> = pairs.chain(otherwise.iter().map(|otherwise| shown(otherwise))).collect();
            format!("case({operand}{}):{}", all.join(", "), kind_of(*kind))
        }
        Expr::Operand { kind } => format!("operand:{}", kind_of(*kind)),
        Expr::Chain { first, steps, .. } => format!("chain({}; {})", shown(first), list(steps)),
        Expr::Coalesce { arguments, kind } => format!("coalesce({}):{}", list(arguments), kind_of(*kind)),
        Expr::Extreme { greatest, arguments, kind } => {
            let name = if *greatest { "greatest" } else { "least" };
            format!("{name}({}):{}", list(arguments), kind_of(*kind))
        }
        Expr::NullIf { left, right, kind, .. } => {
            format!("nullif({}, {}):{}", shown(left), shown(right), kind_of(*kind))
        }
        Expr::In { argument, list: items, negated, .. } => {
            format!("({} {}in {})", shown(argument), not(negated), list(items))
        }
        Expr::Quantified { operator, left, array, all } => {
            let word = if *all { "all" } else { "any" };
            format!("({} {} {word} {})", shown(left), operator.name, shown(array))
        }
        Expr::Array { elements, kind } => format!("array({}):{}", list(elements), kind_of(*kind)),
        Expr::Subscript { array, index, kind } => {
            format!("{}[{}]:{}", shown(array), shown(index), kind_of(*kind))
        }
        Expr::Subquery(subquery) => format!("{}:{}", form(&subquery.form), kind_of(subquery.kind)),
        Expr::Only { rows, value } => format!("only({}, {})", shown(rows), shown(value)),
    }
}

fn form(form: &Form) -> String {
    match form {
        Form::Exists => "exists".into(),
        Form::Scalar => "scalar".into(),
        Form::Array => "array".into(),
        Form::Any(comparison) => format!("any {}", shown(comparison)),
        Form::All(comparison) => format!("all {}", shown(comparison)),
    }
}

#[test]
fn literals_have_the_types_of_postgres() {
    check(&[
        ("1", "'1':int4"),
        ("2147483647", "'2147483647':int4"),
        ("2147483648", "'2147483648':int8"),
        ("-2147483648", "'-2147483648':int4"),
        ("- 9223372036854775808", "'-9223372036854775808':int8"),
        ("- -1", "'1':int4"),
        ("-(1.50)", "'-1.50':numeric"),
        ("9223372036854775808", "'9223372036854775808':numeric"),
        ("1e5", "'100000':numeric"),
        ("1_000", "'1000':int4"),
        (".5", "'0.5':numeric"),
        ("0x1F", "not yet: this form of literal"),
        ("B'1'", "not yet: this form of literal"),
        ("'a'", "'a':unknown"),
        ("E'a\\n'", "'a\n':unknown"),
        ("$$it's$$", "'it's':unknown"),
        ("U&'\\0061'", "'a':unknown"),
        ("null", "null:unknown"),
        ("true", "'true':bool"),
        ("date '2024-1-31'", "'2024-01-31':date"),
        ("timestamp '2024-01-31 12:00'", "'2024-01-31 12:00:00':timestamp"),
        ("numeric(5,2) '1.234'", "'1.234':numeric::numeric(327686)"),
        ("date 'today'", "not yet: this text as date"),
        ("interval '1 day'", "'1 day':interval"),
        ("interval '1' day", "'1 day':interval"),
        ("interval '1.5' day", "not yet: INTERVAL … DAY"),
        ("interval '1-2' year to month", "not yet: this form of INTERVAL"),
        ("json '{\"a\": 1}'", "'{\"a\": 1}':json"),
        ("'{\"b\":1,  \"a\":2}'::jsonb", "'{\"a\": 2, \"b\": 1}':jsonb"),
        ("'{1,2}'::int[]", "'{1,2}':_int4"),
        ("'{1,2}'::_int8", "'{1,2}':_int8"),
    ]);
    let moment =
        told("timestamptz '2024-01-31 12:00'", "Europe/Berlin", |binder, expr, place| binder.expression(expr, place));
    assert_eq!(moment, "'2024-01-31 11:00:00+00':timestamptz");
}

#[test]
fn literals_that_cannot_be_read_are_told_where_they_are() {
    check(&[
        ("'abc'::int", "22P02 invalid input syntax for type integer at 1"),
        ("1 + 'a'", "22P02 invalid input syntax for type integer at 5"),
        ("1 + ('a')", "22P02 invalid input syntax for type integer at 6"),
        ("'0x1F'::int", "not yet: this text as integer"),
        ("'99999999999'::int", "22003 value out of range for type integer at 1"),
        ("bool 'maybe'", "22P02 invalid input syntax for type boolean at 6"),
        ("'1,5'::numeric", "22P02 invalid input syntax for type numeric at 1"),
        ("'31/12/2024'::date", "not yet: this text as date"),
        ("'x'::foo", "42704 type \"foo\" does not exist at 6"),
        ("'x'::inet", "not yet: type inet"),
        ("'x'::\"char\"", "'x':char"),
        ("'xy'::\"char\"", "not yet: this text as \"char\""),
        ("'a'::varchar(0)", "not yet: type varchar(0)"),
        ("1::date", "42846 cannot cast type integer to date"),
    ]);
}

#[test]
fn casts_go_as_far_as_postgres_casts() {
    check(&[
        ("1::int8", "'1':int4::int8"),
        ("1::text::varchar(3)", "'1':int4::text::varchar(7)"),
        ("'abc'::varchar(2)", "'abc':varchar::varchar(6)"),
        ("null::varchar(2)", "null:varchar(6)"),
        ("'a'::varchar(2)::varchar", "'a':varchar::varchar(6)::varchar"),
        ("'a'::varchar(2)::varchar(2)", "'a':varchar::varchar(6)"),
        ("1.5::float8::numeric(5,2)", "'1.5':numeric::float8::numeric::numeric(327686)"),
        ("1::numeric(5,2)", "'1':int4::numeric(327686)"),
        ("$1::varchar(2)", "$1:varchar::varchar(6); character varying"),
        ("'ab'::char(3)", "'ab':bpchar::bpchar(7)"),
        ("date('2024-01-31')", "'2024-01-31':date"),
        ("int4('1')", "'1':int4"),
        ("text('a'::varchar)", "'a':varchar::text"),
        ("'a' collate \"C\"", "'a':unknown"),
        ("'a' collate \"de_DE\"", "not yet: COLLATE \"de_DE\""),
        ("1 collate \"C\"", "42804 collations are not supported by type integer"),
    ]);
}

#[test]
fn operators_take_what_postgres_lets_them_take() {
    check(&[
        ("1 + 2.5", "('1':int4->numeric + '2.5':numeric):numeric"),
        ("1 + '2'", "('1':int4 + '2':int4):int4"),
        ("'a' || 'b'", "('a':text || 'b':text):text"),
        ("1::int8 = 2", "('1':int4::int8 = '2':int4):bool"),
        ("'a'::varchar = 'b'", "('a':varchar->text = 'b':text):bool"),
        ("date '2024-01-31' + 1", "('2024-01-31':date + '1':int4):date"),
        ("date '2024-01-31' - '2024-01-30'", "('2024-01-31':date - '2024-01-30':date):int4"),
        ("1::text = 1", "42883 operator does not exist: text = integer"),
        ("'1' + '2'", "42725 operator is not unique: unknown + unknown"),
        ("- 'a'", "42725 operator is not unique: - unknown"),
        ("+ 1.5", "'1.5':numeric"),
        ("~ 1", "(~ '1':int4):int4"),
        ("@ -1", "(@ '-1':int4):int4"),
        ("- 2 ^ 2", "('-2':int4->float8 ^ '2':int4->float8):float8"),
        ("1 operator(pg_catalog.+) 2", "('1':int4 + '2':int4):int4"),
        ("1 operator(pg_catalog.+) 2 * 3", "('1':int4 + ('2':int4 * '3':int4):int4):int4"),
        ("true = 'a' ~ 'b'", "('true':bool = ('a':text ~ 'b':text):bool):bool"),
        ("json '1' = json '1'", "42883 operator does not exist: json = json"),
        ("'a' like 'b'", "('a':text ~~ 'b':text):bool"),
        ("'a' not ilike 'b' escape '!'", "('a':text !~~* like_escape('b':text, '!':text):text):bool"),
        ("'a'::char(3) = 'b'::char(5)", "('a':bpchar::bpchar(7) = 'b':bpchar::bpchar(9)):bool"),
        ("array[1] || 2", "(array('1':int4):_int4 || '2':int4):_int4"),
        ("1 is distinct from 2 and true", "and(('1':int4 is distinct from '2':int4), 'true':bool)"),
        ("1 is not distinct from null", "('1':int4 is null)"),
        ("null is distinct from 1", "('1':int4 is not null)"),
        (
            "timestamp '2024-01-31 12:00' at time zone 'UTC'",
            "timezone('UTC':text, '2024-01-31 12:00:00':timestamp):timestamptz",
        ),
    ]);
}

#[test]
fn truth_values_are_asked_for() {
    let yes = "'true':bool";
    check(&[
        ("true and (true and 'f') and null", &format!("and({yes}, {yes}, 'false':bool, null:bool)")),
        ("true or false and not true", &format!("or({yes}, and('false':bool, not {yes}))")),
        ("true and 1", "42804 argument of AND must be type boolean, not type integer at 10"),
        ("not 3", "42804 argument of NOT must be type boolean, not type integer at 5"),
        ("1 is true", "42804 argument of IS TRUE must be type boolean, not type integer at 1"),
        ("'t' is not unknown", "('true':bool is not unknown)"),
        ("1 is null", "('1':int4 is null)"),
        ("$1 is null", "($1:unknown is null); 42P18 could not determine data type of parameter $1"),
        (
            "$1 is null or 1 = $1",
            "or(($1:unknown is null), ('1':int4 = $1:int4):bool); 42P08 could not determine data type of parameter $1",
        ),
        ("1 = $1 or $1 is null", "or(('1':int4 = $1:int4):bool, ($1:int4 is null)); integer"),
        ("case when 1 then 2 end", "42804 argument of CASE/WHEN must be type boolean, not type integer at 11"),
    ]);
    let condition = told("1 + 1", "UTC", |binder, expr, place| binder.condition(expr, place));
    assert_eq!(condition, "42804 argument of WHERE must be type boolean, not type integer at 1");
    let number = |text| told(text, "UTC", |binder, expr, place| binder.number(expr, place));
    assert_eq!(number("null"), "null:int8");
    assert_eq!(number("1"), "'1':int4->int8");
    assert_eq!(number("1.5"), "'1.5':numeric->int8");
    assert_eq!(number("true"), "42804 argument of WHERE must be type bigint, not type boolean at 1");
}

#[test]
fn lists_and_ranges_are_compared_item_by_item_or_as_one() {
    check(&[
        ("1 in (2)", "('1':int4 = '2':int4):bool"),
        ("1 not in (2)", "('1':int4 <> '2':int4):bool"),
        ("1 in (2, '3')", "('1':int4 in '2':int4, '3':int4)"),
        ("1 not in (2, 3.5)", "('1':int4->numeric not in '2':int4->numeric, '3.5':numeric)"),
        ("'a' in ('b', 'c')", "('a':text in 'b':text, 'c':text)"),
        ("1 in ('a', 2)", "22P02 invalid input syntax for type integer at 7"),
        ("'a'::text in (1, 2)", "42883 operator does not exist: text = integer"),
        ("'a'::text not in (1, 2)", "42883 operator does not exist: text <> integer"),
        ("1 in (count(*), 2, 3)", "or(('1':int4 in '2':int4, '3':int4), ('1':int4 = #1):bool); #1 = count()"),
        ("1 between 0 and 2.5", "and(('1':int4 >= '0':int4):bool, ('1':int4->numeric <= '2.5':numeric):bool)"),
        ("1 not between 0 and 2", "or(('1':int4 < '0':int4):bool, ('1':int4 > '2':int4):bool)"),
        ("5 between 'a' and 6", "22P02 invalid input syntax for type integer at 11"),
        ("1 = any(array[1, 2])", "('1':int4 = any array('1':int4, '2':int4):_int4)"),
        ("1 <> all('{1,2}')", "('1':int4 <> all '{1,2}':_int4)"),
        ("1.5 = any(array[1, 2])", "('1.5':numeric = any array('1':int4, '2':int4):_int4->_numeric)"),
        ("'a' like any(array['b'])", "('a':text ~~ 'b':text):bool"),
        ("'a' ~ all(array['b', null])", "and(('a':text ~ 'b':text):bool, ('a':text ~ null:text):bool)"),
        ("'a' not ilike any('{b}')", "('a':text !~~* any '{b}':_text)"),
        ("'a' like any('b', 'c')", "not yet: LIKE ANY of a list"),
        ("1 = any(3)", "42809 op ANY/ALL (array) requires array on right side"),
        ("1 in (select 1)", "any ('1':int4 = #1):bool:bool"),
    ]);
}

#[test]
fn values_together_have_one_type() {
    check(&[
        ("case when true then 1 else 2.5 end", "case('true':bool ? '1':int4->numeric, '2.5':numeric):numeric"),
        ("case when true then 'a' end", "case('true':bool ? 'a':text):text"),
        (
            "case 1 when 2.5 then 'a' else null end",
            "case('1':int4 (operand:int4->numeric = '2.5':numeric):bool ? 'a':text, null:text):text",
        ),
        ("case 1 when 2 then 'a' else 3 end", "22P02 invalid input syntax for type integer at 20"),
        ("case when true then 1 else true end", "42804 CASE types boolean and integer cannot be matched at 21"),
        ("coalesce(null, 1, 2::int8)", "coalesce(null:int8, '1':int4->int8, '2':int4::int8):int8"),
        ("coalesce(1, 'x'::text)", "42804 COALESCE types integer and text cannot be matched at 13"),
        ("coalesce(1, 'x')", "22P02 invalid input syntax for type integer at 13"),
        ("pg_catalog.coalesce(1)", "not yet: function coalesce"),
        ("greatest(1, 2.5)", "greatest('1':int4->numeric, '2.5':numeric):numeric"),
        ("greatest('{}'::json)", "not yet: GREATEST of json"),
        ("nullif(1, 2.5)", "nullif('1':int4->numeric, '2.5':numeric):numeric"),
        (
            "coalesce('a'::varchar(2), 'b'::varchar(2))",
            "coalesce('a':varchar::varchar(6), 'b':varchar::varchar(6)):varchar(6)",
        ),
        (
            "coalesce('a'::varchar(2), 'b'::varchar(3))",
            "coalesce('a':varchar::varchar(6)->varchar, 'b':varchar::varchar(7)->varchar):varchar",
        ),
        ("array[1, 2.5]", "array('1':int4->numeric, '2.5':numeric):_numeric"),
        ("array[]", "42P18 cannot determine type of empty array"),
        ("array[]::int[]", "array():_int4"),
        ("array['1', 2]::int8[]", "array('1':int8, '2':int4::int8):_int8"),
        ("array[1, true]", "42804 ARRAY types integer and boolean cannot be matched at 10"),
        ("array[array[1]]", "not yet: an array of several dimensions"),
        ("(array[1, 2])[1]", "array('1':int4, '2':int4):_int4['1':int4]:int4"),
        ("(array[1, 2])[true]", "42804 array subscript must have type integer at 15"),
        ("(1)[1]", "42804 cannot subscript type integer because it does not support subscripting at 2"),
    ]);
}

#[test]
fn parameters_are_of_what_they_first_stand_for() {
    check(&[
        ("$1", "$1:unknown; text"),
        ("$1 + 1", "($1:int4 + '1':int4):int4; integer"),
        ("$1 in (1, 2.5)", "($1:numeric in '1':int4->numeric, '2.5':numeric); numeric"),
        ("$1 between 1 and 2.5", "and(($1:int4 >= '1':int4):bool, ($1:int4->numeric <= '2.5':numeric):bool); integer"),
        ("1::int8 = any($1)", "('1':int4::int8 = any $1:_int8); bigint[]"),
        ("coalesce($2, 1)", "coalesce($2:int4, '1':int4):int4; 42P18 could not determine data type of parameter $1"),
        ("$1 || $1", "($1:text || $1:text):text; text"),
        ("concat($1)", "concat($1:unknown):text; 42P18 could not determine data type of parameter $1"),
        ("case when $1 then $1 else 1 end", "42804 CASE types integer and boolean cannot be matched at 19"),
        ("lpad($1, $1)", "42P08 inconsistent types deduced for parameter $1"),
        ("$0", "42P02 there is no parameter $0 at 1"),
        ("$70000", "not yet: parameter $70000"),
        ("array[$1, 1.5]", "array($1:numeric, '1.5':numeric):_numeric; numeric"),
    ]);
}

#[test]
fn calls_are_of_functions_that_are_known() {
    check(&[
        ("upper('a')", "upper('a':text):text"),
        ("pg_catalog.upper('a')", "upper('a':text):text"),
        ("upper(1)", "42883 function upper(integer) does not exist at 1"),
        ("pg_catalog.upper(1)", "42883 function pg_catalog.upper(integer) does not exist at 1"),
        ("no_such(1)", "not yet: function no_such"),
        ("upper(distinct 'a')", "42809 DISTINCT specified, but upper is not an aggregate function at 1"),
        ("now()", "not yet: function now"),
        ("current_date", "not yet: CURRENT_DATE"),
        ("random()", "not yet: function random"),
        ("pg_typeof(1)", "not yet: function pg_typeof"),
        ("generate_series(1, 2)", "not yet: function generate_series"),
        ("varchar('a')", "not yet: VARCHAR(…)"),
        ("row_number()", "42809 window function row_number requires an OVER clause at 1"),
        ("sum(1) over ()", "42P20 window functions are not allowed in WHERE at 1"),
        ("concat(1, 'a', true)", "concat('1':int4, 'a':text, 'true':bool):text"),
        ("round(1.5)", "round('1.5':numeric):numeric"),
        ("extract(year from date '2024-01-31')", "extract('year':text, '2024-01-31':date):numeric"),
        ("position('a' in 'b')", "position('b':text, 'a':text):int4"),
        ("substring('a' from 1 for 2)", "substring('a':text, '1':int4, '2':int4):text"),
        ("substring('a' for 2)", "substring('a':text, '1':int4, '2':int4):text"),
        ("substr('a', 2)", "substr('a':text, '2':int4):text"),
        ("trim(leading 'a' from 'b')", "ltrim('b':text, 'a':text):text"),
        ("trim('a')", "btrim('a':text):text"),
        ("overlay('a' placing 'b' from 1)", "overlay('a':text, 'b':text, '1':int4):text"),
        ("ceil(1.5)", "ceil('1.5':numeric):numeric"),
        ("f(a => 1)", "not yet: such an argument of f"),
    ]);
}

#[test]
fn aggregates_are_kept_apart() {
    check(&[
        ("count(*)", "#1; #1 = count()"),
        ("count()", "42809 count(*) must be used to call a parameterless aggregate function at 1"),
        ("sum(1) + 1", "(#1 + '1':int4):int8; #1 = sum('1':int4)"),
        ("sum()", "42883 function sum() does not exist at 1"),
        ("count(distinct 'a')", "#1; #1 = count(distinct 'a':text)"),
        ("count(distinct '1'::json)", "42883 could not identify an equality operator for type json at 16"),
        (
            "string_agg(distinct 'a'::varchar, ',' order by 'a'::varchar desc)",
            "#1; #1 = string_agg(distinct 'a':varchar->text, ',':text by 'a':varchar->text 11)",
        ),
        ("sum(1) filter (where true)", "#1; #1 = sum('1':int4 filter 'true':bool)"),
        ("sum(1) filter (where 1)", "42804 argument of FILTER must be type boolean, not type integer at 22"),
        ("sum(1) filter (where sum(1) > 1)", "42803 aggregate functions are not allowed in FILTER at 22"),
        ("sum(sum(1))", "42803 aggregate function calls cannot be nested at 5"),
        ("array_agg(1 order by 2 nulls first)", "#1; #1 = array_agg('1':int4 by '2':int4 01)"),
        ("percentile_cont(0.5) within group (order by 1)", "not yet: this form of calling percentile_cont"),
        ("min('a'::varchar)", "#1; #1 = min('a':varchar->text)"),
    ]);
    let nowhere = told("sum(1)", "UTC", |binder, expr, place| {
        binder.expression(expr, &mut Place { scope: place.scope, clause: "WHERE", groups: None })
    });
    assert_eq!(nowhere, "42803 aggregate functions are not allowed in WHERE at 1");
}

#[test]
fn long_and_deep_expressions_have_an_end() {
    let bound = |text: &str| told(text, "UTC", |binder, expr, place| binder.expression(expr, place));
    let chain = format!("true{}", " and true".repeat(2_000));
    assert!(bound(&chain).starts_with("and('true':bool, 'true':bool"));
    let deep = format!("{}true{}", "not (".repeat(200), ")".repeat(200));
    assert!(bound(&deep).starts_with("not not not"));
    let copied = format!("{}1{}", "(".repeat(12), " between 1 and 2)::int".repeat(12));
    assert_eq!(bound(&copied), "not yet: BETWEEN of so long an expression");
    assert!(named("json").is_some_and(|json| !super::convert::compares(json.oid, "=")));
}
