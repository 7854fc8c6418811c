"""Asks Weir and PostgreSQL the same random queries and tells where their answers differ.

Environment: WEIR, the program; SEED, by default a random one; QUERIES, how many; ONLY=n, that query of the seed alone; KEEP=1, to leave both
servers running at the end. Fails if an answer was wrong, an error internal, or a connection lost.
"""

import os
import random
import re
import signal
import sys
import time
from collections import Counter, defaultdict

import compare
import generate
import grammar
import tables
from servers import MOST_ROWS, Answer, Lost, Postgres, Refusal, TooLarge, Weir
from tree import shrink

# Each so many queries is a view as well.
VIEW_EACH = 4
# After so many queries rows are changed, views compared again and dropped.
ROUND = 60
# Attempts and seconds to make one query smaller, and how many are made smaller of those that look alike.
ATTEMPTS, SECONDS, ALIKE = 400, 30, 2
PROBES = 3

# PostgreSQL's answer by other ways over rows in another order: if it is another one, the query leaves it open.
OTHER_WAYS = ["search_path = mirrored", "enable_hashagg = off", "enable_hashjoin = off", "enable_memoize = off", "join_collapse_limit = 1"]

# Kinds of outcomes, in the order in which they are told. The first ones are failures.
WRONG, ORDER, INTERNAL, LOST = "WRONG", "WRONG ORDER", "INTERNAL ERROR", "LOST CONNECTION"
FAILURES = [WRONG, ORDER, INTERNAL, LOST]
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


class Differ:
    def __init__(self, seed, postgres, weir):
        self.seed = seed
        self.weir_server = weir
        self.weir = weir.connect()
        self.postgres = postgres.connect()
        self.other_ways = postgres.connect()
        self.refused = set()
        # Views by name, with what they are of.
        self.views = {}
        # By subject (query, view …), kind and detail.
        self.counts = Counter()
        self.examples = {}
        self.columns = defaultdict(str)
        self.columns_count = Counter()
        # Queries made smaller, with literals and numbers taken out.
        self.shapes = Counter()
        self.type_names = {}

    # Tables.

    def prepare(self):
        self.postgres.must("CREATE SCHEMA mirrored")
        for setting in OTHER_WAYS:
            self.other_ways.must(f"SET {setting}")
        for statement in tables.create():
            self.everywhere(statement)
        for statement in tables.fill(random.Random(f"{self.seed} rows")):
            self.everywhere(statement)
        for row in self.postgres.must("SELECT oid, typname FROM pg_type").rows:
            self.type_names[int(row[0])] = row[1]

    def everywhere(self, statement):
        self.weir.must(statement)
        self.postgres.must(statement)
        self.other_ways.must(tables.mirrored(statement) if statement.startswith("INSERT") else statement)

    def change(self, round):
        """Changes some rows; tables must be the same after it."""
        for statement in tables.changes(random.Random(f"{self.seed} changes {round}"), round):
            self.everywhere(statement)
        self.weir.must("FLUSH")
        for table in tables.TABLES:
            self.note("table", f"SELECT * FROM {table}", self.judge(f"SELECT * FROM {table}"))

    # One query.

    def judge(self, sql, ordered=False):
        return self.outcome(sql, self.ask_weir(sql), ordered)

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
        self.compare_columns(sql, ours, theirs)
        return Outcome(EQUAL if how == compare.SAME else WRITTEN)

    def refusal(self, sql, ours, theirs):
        if ours.state == "XX000":
            return Outcome(INTERNAL, bucket(ours), ours.message)
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

    def compare_columns(self, sql, ours, theirs):
        for our, their in zip(ours.types, theirs.types):
            if our != their:
                self.count_column(f"type {self.type_names.get(their, their)} is {self.type_names.get(our, our)}", sql)
        for our, their in zip(ours.names, theirs.names):
            if our != their:
                self.count_column(f"name {their} is {our}", sql)

    def count_column(self, what, sql):
        self.columns_count[what] += 1
        if not self.columns[what] or len(sql) < len(self.columns[what]):
            self.columns[what] = sql

    # A query as a view.

    def judge_view(self, sql):
        """As a view that is made and dropped again."""
        outcome = self.make_view("smaller", sql)
        self.ask_weir("DROP MATERIALIZED VIEW IF EXISTS smaller")
        return outcome

    def make_view(self, name, sql):
        made = self.ask_weir(f"CREATE MATERIALIZED VIEW {name} AS {sql}")
        if not isinstance(made, Answer):
            return self.outcome(sql, made)
        return self.outcome(sql, self.ask_weir(f"SELECT * FROM {name}"))

    def end_round(self, round):
        self.change(round)
        for name, sql in self.views.items():
            self.note("view after changes", sql, self.outcome(sql, self.ask_weir(f"SELECT * FROM {name}")))
            self.ask_weir(f"DROP MATERIALIZED VIEW {name}")
        self.views.clear()

    # All of them.

    def probe(self):
        """Templates that are refused or wrong by themselves are told, and are not in random queries."""
        chance = random.Random(f"{self.seed} probes")
        for template in [template for table in grammar.TABLES.values() for template in table]:
            outcomes = []
            for _ in range(PROBES):
                query = generate.probe(template, chance)
                outcome = self.judge(str(query))
                self.note("probe", query, outcome)
                if outcome.kind not in (ALIKE_REFUSED, OTHERWISE, SKIPPED):
                    outcomes.append(outcome.kind)
            if outcomes and all(kind in (WRONG, INTERNAL, LOST, ERROR, REFUSED) for kind in outcomes):
                self.refused.add(template)

    def random_query(self, number):
        query = generate.Generator(random.Random(f"{self.seed} {number}"), self.refused).query()
        outcome = self.judge(str(query), query.ordered)
        self.note("query", query, outcome, number)
        # A view of a query with an order or a limit is refused.
        if number % VIEW_EACH == 0 and query.named and not query.ordered and outcome.kind in (EQUAL, WRITTEN):
            name = f"view_{number}"
            outcome = self.make_view(name, str(query))
            self.note("view", query, outcome, number)
            if outcome.kind in (EQUAL, WRITTEN):
                self.views[name] = str(query)
            else:
                self.ask_weir(f"DROP MATERIALIZED VIEW IF EXISTS {name}")

    def run(self, count, only=None):
        for number in range(count if only is None else only + 1):
            if only is None or number == only:
                self.random_query(number)
            if number % ROUND == ROUND - 1:
                self.end_round(number // ROUND)
            if only is None and number % 500 == 499:
                print(f"-- {number + 1} queries, {sum(self.failures().values())} failures", flush=True)

    # What is told.

    def note(self, subject, query, outcome, number=None):
        key = (subject, outcome.kind, outcome.detail)
        self.counts[key] += 1
        sql = str(query)
        if key not in self.examples or len(sql) < len(self.examples[key]):
            self.examples[key] = sql
        if outcome.kind in FAILURES:
            self.tell(subject, query, outcome, number)

    def tell(self, subject, query, outcome, number):
        whole = str(query)
        judge = {"query": self.judge, "probe": self.judge, "view": self.judge_view}.get(subject)
        if judge and outcome.kind != ORDER and (outcome.kind == WRONG or self.counts[subject, outcome.kind, outcome.detail] <= ALIKE):
            outcome = self.make_smaller(query, outcome, judge)
        sql = str(query)
        shape = (subject, outcome.kind, re.sub(r"'[^']*'|\d+", "?", sql))
        self.shapes[shape] += 1
        if self.shapes[shape] > 1:
            return
        where = "" if number is None else f" (SEED={self.seed} ONLY={number})"
        print(f"\n{outcome.kind}: {subject}{where}\n{sql};\n{outcome.told}", flush=True)
        if number is not None and sql != whole:
            print(f"made smaller from: {whole}", flush=True)

    def make_smaller(self, query, outcome, judge):
        """Takes parts out of the query in place; how the smaller one fares."""
        known, found, end = {str(query)}, [outcome], time.monotonic() + SECONDS

        def fails():
            sql = str(query)
            if sql in known:
                return False
            known.add(sql)
            if len(known) > ATTEMPTS or time.monotonic() > end:
                raise StopIteration
            now = judge(sql)
            if now.like(outcome):
                found.append(now)
            return now.like(outcome)

        shrink(query.node, fails)
        return found[-1]

    def failures(self):
        return Counter({key: count for key, count in self.counts.items() if key[1] in FAILURES})

    def summary(self):
        print("\n== outcomes")
        for subject in dict.fromkeys(subject for subject, _, _ in self.counts):
            for kind in KINDS:
                count = sum(count for key, count in self.counts.items() if key[:2] == (subject, kind))
                if count:
                    print(f"{count:7} {subject}: {kind}")
        for kind in (INTERNAL, ERROR, REFUSED, ACCEPTED, OTHERWISE):
            print(f"\n== {kind}, by message")
            for (subject, _, detail), count in self.counts.most_common():
                if (example := self.examples.get((subject, kind, detail))) and (subject, kind, detail) in self.counts and count == self.counts[subject, kind, detail]:
                    print(f"{count:5} {subject}: {detail}\n            {example[:400]}")
        print("\n== columns of equal answers with another type or name than PostgreSQL's")
        for what, count in self.columns_count.most_common():
            print(f"{count:5} {what}\n            {self.columns[what][:400]}")
        print("\n== templates that are not in random queries")
        for template in self.refused:
            print(f"      {template}")
        print("\n== failures of the same shape")
        for (subject, kind, shape), count in self.shapes.most_common():
            print(f"{count:5} {kind}, {subject}: {shape[:400]}")


def bucket(refusal):
    """State and message without names and numbers."""
    message = re.sub(r"\d+", "n", re.sub(r'"[^"]*"', '"…"', refusal.message.splitlines()[0]))
    return f"{refusal.state} {message[:160]}"


def main():
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    count = int(os.environ.get("QUERIES") or 1000)
    only = os.environ.get("ONLY")
    print(f"SEED={seed} QUERIES={count}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    servers = []
    try:
        servers.append(Postgres())
        servers.append(Weir(os.environ.get("WEIR") or "target/debug/weir"))
        differ = Differ(seed, *servers)
        differ.prepare()
        differ.probe()
        differ.run(count, None if only is None else int(only))
        differ.summary()
        if os.environ.get("KEEP"):
            for server in servers:
                print(f'psql "{server.where()}"')
            signal.pause()
    finally:
        for server in reversed(servers):
            server.stop()
    failures = sum(differ.failures().values())
    if failures:
        sys.exit(f"SEED={seed}: {failures} of the answers are wrong, internal errors or lost connections")
    print(f"SEED={seed}: no answer was wrong")


main()
