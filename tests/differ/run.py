"""Asks Weir and PostgreSQL the same random queries and tells where their answers differ.

Environment: WEIR, the program; SEED, by default a random one; QUERIES, how many; ONLY=n, that query of the seed alone; COLUMNS=1, for
types and names of columns that are not PostgreSQL's to be failures, too; KEEP=1, to leave both servers running at the end. Fails if an
answer was wrong, an error internal, or a connection lost.
"""

import os
import random
import signal
import sys

import generate
import grammar
import parameters
import tables
from judge import ALIKE_REFUSED, EQUAL, ERROR, FAILURES, OTHERWISE, REFUSED, SKIPPED, WRITTEN, Judge
from report import Report
from servers import Postgres, Weir

# Each so many queries is a view as well.
VIEW_EACH = 4
# After so many queries rows are changed, views compared again and dropped.
ROUND = 60
# Queries for each template.
PROBES = 3


class Differ:
    def __init__(self, seed, judge, report):
        self.seed = seed
        self.judge = judge
        self.report = report
        # Templates, and types that windows are ordered by, which do not work by themselves.
        self.refused = []
        self.unordered = list(generate.UNORDERED)
        # Views by name, with what they are of.
        self.views = {}
        self.rounds = 0

    def make_tables(self):
        for statement in [*tables.create(), *tables.fill(random.Random(f"{self.seed} rows"))]:
            self.judge.everywhere(statement)
        self.report.type_names = self.judge.type_names()

    def probe(self):
        """Templates that are refused or wrong by themselves are told, and are not in random queries."""
        chance = random.Random(f"{self.seed} probes")
        for template in [template for table in grammar.TABLES.values() for template in table]:
            kinds = [self.ask("probe", generate.probe(template, chance)).kind for _ in range(PROBES)]
            kinds = [kind for kind in kinds if kind not in (ALIKE_REFUSED, SKIPPED)]
            if kinds and all(kind in (*FAILURES, ERROR, REFUSED, OTHERWISE) for kind in kinds):
                self.refused.append(template)

    def try_constructs(self):
        """Each as a query and as a view."""
        for number, (kind, query) in enumerate(generate.constructs()):
            outcome = self.ask("construct", query)
            if outcome.kind in (EQUAL, WRITTEN):
                self.view_too(f"construct_{number}", query)
            elif "rank() OVER (ORDER" in str(query):
                self.unordered.append(kind)
            if number % ROUND == ROUND - 1:
                self.change()
        self.change()

    def run(self, numbers):
        """The random queries of these numbers. What they find in the tables depends on all the rounds before."""
        for number in range(max(numbers) + 1 if numbers else 0):
            if number in numbers:
                self.random_query(number)
            if number % ROUND == ROUND - 1:
                self.change()
            if number % 500 == 499:
                print(f"-- {number + 1} queries, {self.report.failures()} failures", flush=True)
        self.change()

    def random_query(self, number):
        query = generate.Generator(random.Random(f"{self.seed} {number}"), self.refused, self.unordered).query()
        outcome = self.ask("query", query, number)
        if number % VIEW_EACH == 0 and not parameters.has_any(str(query)) and outcome.kind in (EQUAL, WRITTEN):
            self.view_too(f"view_{number}", query, number)

    def ask(self, subject, query, number=None):
        outcome = self.judge.query(str(query), query.ordered)
        self.report.note(subject, query, outcome, self.judge.query, number)
        return outcome

    def view_too(self, name, query, number=None):
        # A view of a query with an order or a limit is refused, and so is one of columns of the same name.
        if query.ordered or not query.named:
            return
        sql = str(query)
        outcome = self.judge.view(name, sql)
        self.report.note("view", query, outcome, self.judge.view_alone, number)
        if outcome.kind in (EQUAL, WRITTEN):
            self.views[name] = sql
        else:
            self.judge.drop(name)

    def change(self):
        """Changes some rows. Tables and views must be the same after it; the views are dropped."""
        self.rounds += 1
        for statement in tables.changes(random.Random(f"{self.seed} changes {self.rounds}"), 1000 * self.rounds):
            self.judge.everywhere(statement)
        self.judge.flush()
        for table in tables.TABLES:
            sql = f"SELECT * FROM {table}"
            self.report.note("table after changes", sql, self.judge.query(sql))
        for name, sql in self.views.items():
            self.report.note("view after changes", sql, self.judge.content(name, sql))
            self.judge.drop(name)
        self.views.clear()


def main():
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    count = int(os.environ.get("QUERIES") or 1000)
    only = os.environ.get("ONLY")
    print(f"SEED={seed} QUERIES={count}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    report = Report(seed)
    servers = []
    try:
        servers.append(Postgres())
        servers.append(Weir(os.environ.get("WEIR") or "target/debug/weir"))
        strict = bool(os.environ.get("COLUMNS"))
        differ = Differ(seed, Judge(*servers, report.compare_columns, strict), report)
        differ.make_tables()
        differ.probe()
        differ.try_constructs()
        differ.run(range(count) if only is None else [int(only)])
        report.summary(differ.refused)
        if os.environ.get("KEEP"):
            print("\n".join(f'psql "{server.where()}"' for server in servers), flush=True)
            signal.pause()
    finally:
        for server in reversed(servers):
            server.stop()
    if report.failures():
        sys.exit(f"SEED={seed}: {report.failures()} of the answers are wrong, internal errors or lost connections")
    print(f"SEED={seed}: no answer was wrong")


main()
