"""What Python programs do by way of psycopg 3 and SQLAlchemy. Usage: python psycopg_and_sqlalchemy.py PORT"""

import decimal
import sys

import psycopg
import sqlalchemy as sa

port = sys.argv[1]


def check(what, found, expected):
    assert found == expected, f"{what}: {found!r} and not {expected!r}"


def inspection():
    engine = sa.create_engine(f"postgresql+psycopg://root@127.0.0.1:{port}/dev")
    inspector = sa.inspect(engine)
    assert "public" in inspector.get_schema_names()
    check("tables", inspector.get_table_names(), ["items"])
    check("views", inspector.get_materialized_view_names(), ["dear"])
    columns = inspector.get_columns("items")
    check("columns", [c["name"] for c in columns], ["id", "name", "price"])
    check("types", [str(c["type"]) for c in columns], ["INTEGER", "VARCHAR", "NUMERIC(10, 2)"])
    check("nullable", [c["nullable"] for c in columns], [False, True, True])
    check("primary key", inspector.get_pk_constraint("items")["constrained_columns"], ["id"])
    check("foreign keys", inspector.get_foreign_keys("items"), [])
    check("unique", inspector.get_unique_constraints("items"), [])
    check("checks", inspector.get_check_constraints("items"), [])
    inspector.get_indexes("items")
    inspector.get_table_comment("items")
    check("columns of a view", [c["name"] for c in inspector.get_columns("dear")], ["id", "name"])
    assert "SELECT" in inspector.get_view_definition("dear")
    metadata = sa.MetaData()
    metadata.reflect(engine, views=True)
    check("reflected", sorted(metadata.tables), ["dear", "items"])
    items = metadata.tables["items"]
    with engine.begin() as connection:
        connection.execute(items.insert(), [{"id": 30, "name": "alchemy", "price": decimal.Decimal("1.25")}])
        with connection.begin_nested() as nested:
            connection.execute(items.insert(), [{"id": 30, "name": "undone", "price": None}])
            nested.rollback()
    with engine.connect() as connection:
        found = connection.execute(sa.select(items).where(items.c.id == 30)).all()
        check("a row by way of the reflected table", found, [(30, "alchemy", decimal.Decimal("1.25"))])


def driver():
    where = f"host=127.0.0.1 port={port} user=root dbname=dev"
    with psycopg.connect(where) as connection:
        cursor = connection.cursor()
        for _ in range(8):
            row = cursor.execute("SELECT id, name, price FROM items WHERE id = %s", (2,)).fetchone()
            check("prepared by itself", row, (2, "cake", decimal.Decimal("12.00")))
        with cursor.copy("COPY items (id, name) FROM STDIN") as copy:
            copy.write_row((40, "tab\there"))
            copy.write_row((41, None))
        connection.commit()
        with cursor.copy("COPY (SELECT id, name FROM items WHERE id >= 40 ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "varchar"])
            check("copied", list(copy.rows()), [(40, "tab\there"), (41, None)])
    with psycopg.connect(where, autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute("SELECT true, 7::smallint, 1.5::float8, 'x'::text, '\\x00ff'::bytea, ARRAY[1, NULL], NULL::int, DATE '2024-02-29'")
        import datetime

        check("binary", cursor.fetchone(), (True, 7, 1.5, "x", b"\x00\xff", [1, None], None, datetime.date(2024, 2, 29)))
        with connection.pipeline():
            answers = [connection.execute("SELECT %s::int", (n,)) for n in range(3)]
        check("pipeline", [answer.fetchone()[0] for answer in answers], [0, 1, 2])
        check("streamed", len(list(connection.cursor().stream("SELECT x FROM generate_series(1, 50) AS t (x)"))), 50)
        try:
            connection.execute("SELECT 1 / 0")
            raise AssertionError("division by zero is an error")
        except psycopg.errors.DivisionByZero:
            pass


inspection()
driver()
print("ok")
