"""The tables that queries read, their random rows, and random changes of them. The same statements are for both servers."""

from grammar import NAMES, VALUES

# Column and type. Some names are in several tables, also with other types of the same family, for USING and NATURAL.
TABLES = {
    # The only one with a key.
    "t": dict(
        id="int4", i="int4", b="int8", s="int2", n="numeric", m="money", x="text", v="varchar", c="bpchar", f="float8", r="float4",
        d="date", p="timestamp", z="timestamptz", l="interval", o="bool", j="jsonb", k="ints", a="texts", g="uuid", y="bytea",
    ),
    "u": dict(
        id="int4", i="int8", n="money", x="varchar", c="bpchar", d="date", p="timestamp", z="timestamptz", l="interval", o="bool",
        f="float4", k="ints", g="uuid",
    ),
    # Rows are there several times.
    "w": dict(i="int4", n="numeric", v="varchar", c="text", d="timestamp", o="bool"),
    # Empty.
    "e": dict(id="int4", i="int4", n="numeric", x="text", f="float8", d="date", o="bool", j="jsonb"),
}
ROWS = {"t": 24, "u": 18, "w": 10, "e": 0}
NULLS = 0.25


def create():
    for table, columns in TABLES.items():
        described = [f"{name} {NAMES[kind]}{' PRIMARY KEY' if (table, name) == ('t', 'id') else ''}" for name, kind in columns.items()]
        yield f"CREATE TABLE {table} ({', '.join(described)})"


def fill(random):
    """One INSERT for each table that is not empty."""
    for table, count in ROWS.items():
        rows = [row(random, table, number) for number in range(1, count + 1)]
        if table == "w":
            rows += random.sample(rows, 4)
        if rows:
            yield insert(table, rows)


def mirrored(statement):
    """The same rows in the opposite order."""
    head, rows = statement.split(" VALUES\n")
    return head + " VALUES\n" + ",\n".join(reversed(rows.split(",\n")))


def insert(table, rows):
    return f"INSERT INTO {table} VALUES\n" + ",\n".join(f"({', '.join(row)})" for row in rows)


def row(random, table, number):
    return [str(number) if name == "id" else value(random, kind) for name, kind in TABLES[table].items()]


def value(random, kind):
    return "NULL" if random.random() < NULLS else f"'{random.choice(VALUES[kind])}'"


def changes(random, ids):
    """Statements that insert, update and delete some rows, known by their ids or first column. New ids are from `ids` on."""
    table = random.choice(["t", "u", "w"])
    columns = TABLES[table]
    first = next(iter(columns))
    yield insert(table, [row(random, table, ids + number) for number in range(2)])
    for _ in range(2):
        name, kind = random.choice([column for column in columns.items() if column[0] != "id"])
        yield f"UPDATE {table} SET {name} = {value(random, kind)} WHERE {first} % 5 = {random.randrange(5)}"
    yield f"DELETE FROM {table} WHERE {first} % 9 = {random.randrange(9)} OR {first} IS NULL"
    if table != "t":
        yield insert(table, [row(random, table, ids + number) for number in range(2, 5)])
