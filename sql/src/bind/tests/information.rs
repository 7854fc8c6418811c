//! Words and functions that tell of the session and of the time; types of the catalogs.

use super::{Nothing, told_by};
use crate::bind::session::Session;
use crate::bind::{Relation, Relations};
use crate::bound::Bound;

struct Asked(Session);

impl Relations for Asked {
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<Relation> {
        Nothing.relation(schema, name)
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.0)
    }
}

fn check(schemas: &[&str], expected: &[(&str, &str)]) {
    let schemas = schemas.iter().map(|schema| schema.to_string()).collect();
    let asked = Asked(Session { user: "ann".into(), pid: 7, version: "PostgreSQL 15.0", schemas });
    for (text, expected) in expected {
        let told = told_by(&asked, text, "UTC", |binder, expr, place| binder.expression(expr, place));
        assert_eq!(told, *expected, "{text}");
    }
}

#[test]
fn a_session_is_told_of() {
    check(
        &["public", "rw_catalog"],
        &[
            ("current_user", "'ann':name"),
            ("user", "'ann':name"),
            ("session_user", "'ann':name"),
            ("current_role", "'ann':name"),
            ("system_user", "not yet: SYSTEM_USER"),
            ("current_catalog", "'dev':name"),
            ("current_database()", "'dev':name"),
            ("pg_catalog.current_database()", "'dev':name"),
            ("current_database(1)", "42883 function current_database(integer) does not exist at 1"),
            ("current_schema", "'public':name"),
            ("current_schema()", "'public':name"),
            ("current_schemas(true)", "'{pg_catalog,public,rw_catalog}':_name"),
            ("current_schemas(false)", "'{public,rw_catalog}':_name"),
            ("current_schemas(1 = 1)", "not yet: function current_schemas"),
            ("version()", "'PostgreSQL 15.0':text"),
            ("pg_backend_pid()", "'7':int4"),
            ("current_setting('search_path')", "not yet: function current_setting"),
        ],
    );
    check(&[], &[("current_schema", "null:name"), ("current_schemas(true)", "'{pg_catalog}':_name")]);
    check(&["pg_catalog", "public"], &[("current_schemas(true)", "'{pg_catalog,public}':_name")]);
}

#[test]
fn a_time_is_called_for() {
    check(
        &[],
        &[
            ("now()", "now():timestamptz"),
            ("transaction_timestamp()", "transaction_timestamp():timestamptz"),
            ("current_timestamp", "now():timestamptz"),
            ("current_date", "now():timestamptz::date"),
            ("localtime", "now():timestamptz::time"),
            ("localtimestamp", "now():timestamptz::timestamp"),
            ("current_time", "not yet: CURRENT_TIME"),
            ("current_timestamp(3)", "not yet: function current_timestamp"),
            ("now(1)", "42883 function now(integer) does not exist at 1"),
            ("current_date - 1", "(now():timestamptz::date - '1':int4):date"),
            ("now() - interval '1 day'", "(now():timestamptz - '1 day':interval):timestamptz"),
            ("date_trunc('day', now())", "date_trunc('day':text, now():timestamptz):timestamptz"),
            ("age(now())", "not yet: function age"),
        ],
    );
}

#[test]
fn types_of_the_catalogs_are_held_as_others() {
    let long = "x".repeat(70);
    let cut = "x".repeat(63);
    check(
        &[],
        &[
            ("'a'::name", "'a':name"),
            (&format!("'{long}'::name"), &format!("'{cut}':name")),
            // The 63rd byte is in the middle of a character.
            (&format!("'{}é'::name", &cut[1..]), &format!("'{}':name", &cut[1..])),
            ("'{a}'::name[]", "'{a}':_name"),
            (&format!("'{{{long}}}'::name[]"), "not yet: this text as name[]"),
            ("'a'::text::name", "not yet: text as name"),
            ("1::name", "not yet: integer as name"),
            ("current_user = 'a'", "('ann':name = 'a':name):bool"),
            ("current_user = 'a'::text", "('ann':name = 'a':text):bool"),
            ("current_user || '!'", "('ann':name->text || '!':text):text"),
            ("upper(current_user)", "upper('ann':name->text):text"),
            ("current_user like 'a%'", "('ann':name ~~ 'a%':text):bool"),
            ("coalesce(current_user, 'x')", "coalesce('ann':name, 'x':name):name"),
            ("'5'::oid", "'5':oid"),
            ("5::oid", "'5':oid"),
            ("5 = 6::oid", "('5':oid = '6':oid):bool"),
            ("7::oid in (1, 2, '3')", "('7':oid in '1':oid, '2':oid, '3':oid)"),
            ("7::oid = any('{1,2}')", "('7':oid = any '{1,2}':_oid)"),
            ("7::oid + 1", "42883 operator does not exist: oid + integer"),
            ("7::oid::text || 'a'", "('7':oid::text || 'a':text):text"),
            ("null::int::oid", "null:oid"),
            ("'-1'::oid", "not yet: this text as oid"),
            ("(-1)::oid", "not yet: integer as oid"),
            ("7::oid::int", "not yet: oid as integer"),
            ("'r'::\"char\" = 'v'", "('r':char = 'v':char):bool"),
            ("'r'::\"char\" in ('v', '')", "('r':char in 'v':char, '':char)"),
            ("'r'::\"char\" = any(array['r', 'v'])", "('r':char->text = any array('r':text, 'v':text):_text)"),
            (
                "case 'r'::\"char\" when 'v' then 'view' end",
                "case('r':char (operand:char = 'v':char):bool ? 'view':text):text",
            ),
            ("coalesce('r'::\"char\", 'table')", "not yet: this text as \"char\""),
            ("name('a'::text)", "not yet: function name"),
            ("int8(7::oid)", "not yet: function int8"),
            ("text(current_user)", "text('ann':name):text"),
            ("max(7::oid)", "#1; #1 = max('7':oid)"),
            ("'r'::\"char\"::int", "not yet: \"char\" as integer"),
            ("'r'::\"char\" || 1", "('r':char->text || '1':int4):text"),
            ("'public' = any(current_schemas(true))", "('public':name = any '{pg_catalog}':_name)"),
        ],
    );
}
