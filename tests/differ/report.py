"""What is told: failures as they come, made smaller, and everything else as counts with the shortest example of each."""

import re
import time
from collections import Counter

from judge import ACCEPTED, ERROR, FAILURES, INTERNAL, KINDS, ORDER, OTHERWISE, REFUSED
from parameters import shown
from tree import Enough, shrink

# Attempts and seconds to make one query smaller, how many of those that look alike are made smaller, and how many of all.
ATTEMPTS, SECONDS, ALIKE, ALL = 400, 30, 2, 150
# Characters of an example in the summary.
EXAMPLE = 400


class Report:
    """Of the queries of a seed."""

    def __init__(self, seed):
        self.seed = seed
        # By subject (query, view …), kind and detail.
        self.counts = Counter()
        # By what differs in their types and names.
        self.columns = Counter()
        # The shortest of each of both.
        self.examples = {}
        # Queries made smaller, with literals and numbers taken out.
        self.shapes = Counter()
        self.type_names = {}

    def note(self, subject, query, outcome, judge=None, number=None):
        """Counts an outcome, and tells it if it is a failure. By `judge` it can be had again of a smaller query."""
        key = (subject, outcome.kind, outcome.detail)
        self.counts[key] += 1
        self.example(key, str(query))
        # What says the same more often is only counted.
        if outcome.kind in FAILURES and not (outcome.detail and self.counts[key] > ALIKE):
            self.tell(subject, query, outcome, judge, number)

    def example(self, key, sql):
        if key not in self.examples or len(sql) < len(self.examples[key]):
            self.examples[key] = shown(sql)

    def tell(self, subject, query, outcome, judge, number):
        whole = str(query)
        # Without its ORDER BY nothing would be in another order.
        if judge and outcome.kind != ORDER and sum(self.shapes.values()) < ALL:
            outcome = self.make_smaller(query, outcome, judge)
        sql, whole = shown(str(query)), shown(whole)
        shape = (subject, outcome.kind, shape_of(sql))
        self.shapes[shape] += 1
        if self.shapes[shape] > 1:
            return
        where = "" if number is None else f" (SEED={self.seed} ONLY={number})"
        print(f"\n{outcome.kind}: {subject}{where}\n{sql};\n{outcome.told or outcome.detail}", flush=True)
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
                raise Enough
            now = judge(sql)
            if now.like(outcome):
                found.append(now)
            return now.like(outcome)

        shrink(query.node, fails)
        return found[-1]

    def compare_columns(self, sql, ours, theirs):
        """How types and names of columns differ whose values are equal."""
        differ = [f"type {self.name(their)} is {self.name(our)}" for our, their in zip(ours.types, theirs.types) if our != their]
        differ += [f"name {their} is {our}" for our, their in zip(ours.names, theirs.names) if our != their]
        for what in differ:
            self.columns[what] += 1
            self.example(what, sql)
        return differ

    def name(self, number):
        return self.type_names.get(number, number)

    def failures(self):
        return sum(count for (_, kind, _), count in self.counts.items() if kind in FAILURES)

    def summary(self, refused):
        print("\n== outcomes")
        for subject in dict.fromkeys(subject for subject, _, _ in self.counts):
            for kind in KINDS:
                if count := sum(count for key, count in self.counts.items() if key[:2] == (subject, kind)):
                    print(f"{count:7} {subject}: {kind}")
        for kind in (INTERNAL, ERROR, REFUSED, ACCEPTED, OTHERWISE):
            print(f"\n== {kind}, by message")
            for key, count in self.counts.most_common():
                if key[1] == kind:
                    print(f"{count:5} {key[0]}: {key[2]}\n            {self.examples[key][:EXAMPLE]}")
        print("\n== columns of equal answers with another type or name than PostgreSQL's")
        for what, count in self.columns.most_common():
            print(f"{count:5} {what}\n            {self.examples[what][:EXAMPLE]}")
        print("\n== templates that do not work by themselves and are not in random queries")
        for template in refused:
            print(f"      {template}")
        print("\n== failures by the shape of the smaller query")
        for (subject, kind, shape), count in self.shapes.most_common():
            print(f"{count:5} {kind}, {subject}: {shape[:EXAMPLE]}")


def shape_of(sql):
    """Without literals and numbers, and what construct it is without the columns that it was tried for."""
    sql = re.sub(r"\b(\w+ )?(one|two|three)(\.\w+|\b)", r"\2", sql)
    return re.sub(r"'[^']*'|\d+", "?", sql)
