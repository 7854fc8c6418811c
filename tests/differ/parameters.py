"""Parameters in the text of a query: each stands there with its number and value until the query is asked or shown."""

import re

BEGIN, NULL, VALUE, END = "\x02", "\x03", "\x04", "\x05"
PARAMETER = re.compile(f"{BEGIN}(\\d+)(?:{NULL}|{VALUE}([^{END}]*)){END}")


def mark(number, value):
    """One that is known by `number`; of the value `None` it is NULL."""
    return f"{BEGIN}{number}{NULL if value is None else VALUE + value}{END}"


def has_any(sql):
    return BEGIN in sql


def taken_out(sql):
    """The query with `$1`, `$2`, … in the order of their numbers, and the values of these."""
    values = {int(found[1]): found[2] for found in PARAMETER.finditer(sql)}
    order = sorted(values)
    numbered = PARAMETER.sub(lambda found: f"${order.index(int(found[1])) + 1}", sql)
    return numbered, [values[number] for number in order]


def shown(sql):
    """For people."""
    numbered, values = taken_out(sql)
    told = ", ".join(f"${at} = {'NULL' if value is None else repr(value)}" for at, value in enumerate(values, 1))
    return f"{numbered}  -- {told}" if values else sql
