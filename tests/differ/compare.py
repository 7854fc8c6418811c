"""When two answers are the same: as multisets of rows, by value."""

import decimal
import json
import re
from collections import Counter

# What one value can be written as in several ways, by its type's number.
NUMERIC, FLOAT4, FLOAT8, INTERVAL, JSONB = 1700, 700, 701, 1186, 3802
ARRAYS = {1231: NUMERIC, 1021: FLOAT4, 1022: FLOAT8}

NOTHING = 1e-15

SAME, WRITTEN, WRONG, ORDER = "same", "written otherwise", "wrong", "in another order"


def compare(ours, theirs, ordered=False):
    """How our answer stands beside PostgreSQL's."""
    if len(ours.types) != len(theirs.types):
        return WRONG
    as_written = Counter(ours.rows) == Counter(theirs.rows)
    if as_written and not ordered:
        return SAME
    values = [[by_value(row, theirs.types) for row in answer.rows] for answer in (ours, theirs)]
    if Counter(values[0]) != Counter(values[1]):
        return WRONG
    if ordered and values[0] != values[1]:
        return ORDER
    return SAME if as_written else WRITTEN


def by_value(row, types):
    return tuple(None if text is None else value(text, kind) for text, kind in zip(row, types))


def value(text, kind):
    if kind in ARRAYS and text != "{}":
        return tuple(value(part, ARRAYS[kind]) if part != "NULL" else None for part in text.strip("{}").split(","))
    if kind == NUMERIC:
        return number(text)
    if kind in (FLOAT4, FLOAT8):
        return significant(text, 6 if kind == FLOAT4 else 12)
    if kind == INTERVAL:
        return microseconds(text)
    if kind == JSONB:
        return json.dumps(json.loads(text, parse_float=number, parse_int=number), sort_keys=True)
    return text


def number(text):
    """Without the zeros at its end."""
    read = decimal.Decimal(text)
    if not read.is_finite():
        return str(read)
    sign, digits, exponent = read.as_tuple()
    digits = "".join(map(str, digits))
    shown = digits.rstrip("0") or "0"
    return f"{'-' if sign and shown != '0' else ''}{shown.lstrip('0') or '0'}e{exponent + len(digits) - len(shown) if shown != '0' else 0}"


def significant(text, digits):
    read = float(text)
    # What is left of sums that come to nothing is rounding.
    return f"{0.0 if abs(read) < NOTHING else read:.{digits}g}"


def microseconds(text):
    """An interval as PostgreSQL compares it: a month is 30 days, a day 24 hours."""
    total = 0
    days = {"year": 360, "mon": 30, "day": 1}
    for count, unit in re.findall(r"([+-]?\d+) (year|mon|day)s?", text):
        total += int(count) * days[unit] * 86_400_000_000
    for sign, hours, minutes, seconds, parts in re.findall(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?", text):
        time = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000 + int((parts or "0").ljust(6, "0"))
        total += -time if sign == "-" else time
    return total


def difference(ours, theirs):
    """The first few rows that only one of them has, for people."""
    lines = []
    for who, one, other in (("weir only", ours, theirs), ("postgres only", theirs, ours)):
        only = Counter(one.rows) - Counter(other.rows)
        lines.append(f"{who} ({len(one.rows)} rows): " + "; ".join(str(row) for row in list(only.elements())[:3]))
    return "\n".join(lines)
