"""How Weir's answer to a query, or what a view of it holds, stands beside PostgreSQL's answer."""

import re
import time

import compare
import tables
from servers import MOST_ROWS, Answer, Lost, Refusal, TooLarge

# PostgreSQL's answer by other ways over rows in another order: if it is another one, the query leaves it open.
OTHER_WAYS = ["search_path = mirrored", "enable_hashagg = off", "enable_hashjoin = off", "enable_memoize = off", "join_collapse_limit = 1"]

# Kinds of outcomes, in the order in which they are told. The first ones are failures.
WRONG, ORDER, COLUMNS, INTERNAL, LOST = "WRONG", "WRONG ORDER", "WRONG COLUMNS", "INTERNAL ERROR", "LOST CONNECTION"
FAILURES = [WRONG, ORDER, COLUMNS, INTERNAL, LOST]
ERROR = "error where PostgreSQL answers"
REFUSED = "refused (0A000)"
ACCEPTED = "accepted where PostgreSQL refuses"
OTHERWISE = "both refuse, for another reason"
ALIKE_REFUSED = "both refuse"
SLOW = "too slow"
OPEN = "left open by the query"
SKIPPED = "too large or slow for PostgreSQL"
WRITTEN = "equal, but written otherwise"
EQUAL = "equal"
KINDS = [*FAILURES, ERROR, REFUSED, ACCEPTED, OTHERWISE, ALIKE_REFUSED, SLOW, OPEN, SKIPPED, WRITTEN, EQUAL]


class Outcome:
    def __init__(self, kind, detail="", told=""):
        self.kind = kind
        # What outcomes of a kind are counted by.
        self.detail = detail
        # For people, of this one.
        self.told = told

    def like(self, other):
        return (self.kind, self.detail) == (other.kind, other.detail)


class Judge:
    """Sessions with both servers. `columns(sql, ours, theirs)` says how types and names differ in answers that are equal, which is a
    failure if `strict`."""

    def __init__(self, postgres, weir, columns, strict=False):
        self.weir_server = weir
        self.weir = weir.connect()
        self.postgres = postgres.connect()
        # The same rows in another order.
        self.other_ways = postgres.connect()
        self.postgres.must("CREATE SCHEMA mirrored")
        for setting in OTHER_WAYS:
            self.other_ways.must(f"SET {setting}")
        self.columns = columns
        self.strict = strict

    def everywhere(self, statement):
        """Runs what both must take."""
        self.weir.must(statement)
        self.postgres.must(statement)
        self.other_ways.must(tables.mirrored(statement) if statement.startswith("INSERT") else statement)

    def flush(self):
        self.weir.must("FLUSH")

    def type_names(self):
        return {int(oid): name for oid, name in self.postgres.must("SELECT oid, typname FROM pg_type").rows}

    def query(self, sql, ordered=False):
        return self.outcome(sql, self.ask_weir(sql), ordered)

    # A query as a view.

    def view(self, name, sql):
        """Makes it; what it holds then."""
        made = self.ask_weir(f"CREATE MATERIALIZED VIEW {name} AS {sql}")
        return self.content(name, sql) if isinstance(made, Answer) else self.outcome(sql, made)

    def view_alone(self, sql):
        """As a view that is dropped again."""
        outcome = self.view("alone", sql)
        self.drop("alone")
        return outcome

    def content(self, name, sql):
        return self.outcome(sql, self.ask_weir(f"SELECT * FROM {name}"))

    def drop(self, name):
        self.ask_weir(f"DROP MATERIALIZED VIEW IF EXISTS {name}")

    # Answers.

    def ask_weir(self, sql):
        answer = self.weir.ask(sql)
        if isinstance(answer, Lost):
            answer.message += self.recover()
        return answer

    def recover(self):
        """What the server wrote, if it ended."""
        self.weir.close()
        time.sleep(0.2)
        ended = self.weir_server.process.poll()
        if ended is not None:
            self.weir_server.restart()
        self.weir = self.weir_server.connect()
        return "" if ended is None else f"; the server ended with {ended}: {self.weir_server.log()[-1500:]}"

    def outcome(self, sql, ours, ordered=False):
        """How our answer stands beside PostgreSQL's."""
        if isinstance(ours, Lost):
            return Outcome(LOST, told=ours.message)
        theirs = self.postgres.ask(sql)
        assert not isinstance(theirs, Lost), f"PostgreSQL is lost by {sql}: {theirs.message}"
        if isinstance(ours, Refusal) and is_internal(ours):
            return Outcome(INTERNAL, bucket(ours) + (", PostgreSQL refuses" if isinstance(theirs, Refusal) else ""), ours.message)
        if isinstance(theirs, TooLarge) or isinstance(theirs, Refusal) and theirs.state == "57014":
            return Outcome(SKIPPED)
        if isinstance(ours, Refusal):
            return self.refusal(sql, ours, theirs)
        if isinstance(theirs, Refusal):
            return Outcome(ACCEPTED, bucket(theirs))
        if isinstance(ours, TooLarge):
            return Outcome(WRONG, told=f"more than {MOST_ROWS} rows")
        how = compare.compare(ours, theirs, ordered)
        if how in (compare.WRONG, compare.ORDER):
            if self.is_open(sql, theirs):
                return Outcome(OPEN)
            return Outcome(WRONG if how == compare.WRONG else ORDER, told=compare.difference(ours, theirs))
        differ = self.columns(sql, ours, theirs)
        if differ and self.strict:
            return Outcome(COLUMNS, "; ".join(sorted(set(differ))))
        return Outcome(EQUAL if how == compare.SAME else WRITTEN)

    def refusal(self, sql, ours, theirs):
        if ours.state == "57014":
            return Outcome(SLOW)
        if ours.state == "0A000":
            return Outcome(REFUSED, bucket(ours))
        if isinstance(theirs, Refusal):
            same = ours.state == theirs.state
            return Outcome(ALIKE_REFUSED, ours.state) if same else Outcome(OTHERWISE, f"{bucket(ours)}  <>  {bucket(theirs)}")
        if ours.state.startswith("22") and self.is_open(sql, theirs):
            return Outcome(OPEN)
        return Outcome(ERROR, bucket(ours), ours.message)

    def is_open(self, sql, answer):
        other = self.other_ways.ask(sql)
        return not isinstance(other, Answer) or compare.compare(other, answer) not in (compare.SAME, compare.WRITTEN)


def is_internal(refusal):
    """Whether nobody was meant to see it: some come with the state of what was going on."""
    return refusal.state == "XX000" or refusal.message.startswith(("Internal error", "a function failed"))


def bucket(refusal):
    """State and message without names and numbers."""
    message = re.sub(r"\d+", "n", re.sub(r'"[^"]*"', '"…"', refusal.message.splitlines()[0]))
    return f"{refusal.state} {message[:160]}"
