"""Random queries. Nothing here knows a server: a query is a tree of SQL, made from a seed, that PostgreSQL mostly takes."""

import parameters
from grammar import CONSTRUCTS, NAMES, NARROWER, TABLES as TEMPLATES, VALUES, common, family, types_of
from tables import TABLES
from tree import Node, Several

DEPTH = 3
# Of subqueries within each other.
NESTING = 2
# Types that are not ordered by on purpose, though PostgreSQL does.
UNORDERED = ["jsonb"]


class Scope:
    """What an expression may name: atoms of the query, and those of the queries around it."""

    def __init__(self, atoms, outer=None, ids=None, visible=None):
        self.atoms = atoms
        self.outer = outer
        # The scope that subqueries see, where it is another one.
        self.visible = visible
        # Whose values say which row it is; `None` where nothing does.
        self.ids = ids

    def of(self, kinds):
        return [atom for atom in self.atoms if atom.kind in kinds]


class Query:
    def __init__(self, node, kinds, ordered=False, named=True):
        self.node = node
        self.kinds = kinds
        # Whether it says in which order each row comes.
        self.ordered = ordered
        # Whether each column has a name of its own.
        self.named = named

    def __str__(self):
        return str(self.node)


class Generator:
    """`refused` are templates not to be used, `unordered` types that windows are not to be ordered by."""

    def __init__(self, random, refused=(), unordered=UNORDERED):
        self.random = random
        self.refused = refused
        self.unordered = unordered
        self.count = 0
        self.ctes = []
        # Tables whose names a CTE has.
        self.hidden = []
        # Whether values are parameters now and then.
        self.has_parameters = False

    # Small decisions.

    def chance(self, probability):
        return self.random.random() < probability

    def one_of(self, *weighted):
        """One of (weight, value)."""
        values = [value for _, value in weighted]
        return self.random.choices(values, [weight for weight, _ in weighted])[0]

    def fresh(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def kind(self, word="any"):
        return self.random.choice(types_of(word))

    # Whole queries.

    def query(self):
        """A query as a client sends it."""
        with_ctes = self.chance(0.12)
        defined = self.define_ctes() if with_ctes else None
        self.has_parameters = self.chance(0.2)
        body = self.one_of(
            (16, self.plain), (2, self.set_operation), (1.5, self.star), (1, self.distinct_on), (1, self.ordered_by), (0.5, self.values),
        )()
        if defined:
            body.node = Node(defined, body.node, kind="query")
        return body

    def define_ctes(self):
        named = []
        for _ in range(self.random.randint(1, 2)):
            query = self.select(None, None, 1)
            # The empty table's, which few queries miss.
            name = "e" if self.chance(0.15) and not self.hidden else self.fresh("q")
            if name == "e":
                self.hidden.append(name)
            self.ctes.append((name, query.kinds))
            columns = ", ".join(f"c{at}" for at in range(1, len(query.kinds) + 1))
            hint = self.one_of((6, ""), (1, "MATERIALIZED "), (1, "NOT MATERIALIZED "))
            named.append(Node(f"{name} ({columns}) AS {hint}(", query.node, ")"))
        return Node("WITH ", Several(", ", named), " ", optional=True)

    def plain(self):
        query = self.select(None, None, 0, naming=self.one_of((14, "apart"), (4, "none"), (2, "alike")))
        return self.ordering(query) if self.chance(0.3) else query

    def ordering(self, query):
        """The first of all rows, in an order that leaves nothing open."""
        if set(query.kinds) & set(UNORDERED) and self.chance(0.9):
            return query
        places = list(range(1, len(query.kinds) + 1))
        self.random.shuffle(places)
        ways = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"]
        # All of them or none: with less, a limit would leave open which rows come.
        order = ", ".join(f"{place}{self.random.choice(ways)}" for place in places)
        most = str(self.random.randint(0, 12))
        limit = self.one_of(
            (3, ""), (3, f" LIMIT {self.parameter(most) if self.has_parameters else most}"), (1, f" OFFSET {self.random.randint(0, 5)}"),
            (1, f" LIMIT {self.random.randint(1, 5)} OFFSET {self.random.randint(0, 3)}"), (1, " FETCH FIRST 3 ROWS ONLY"),
        )
        node = Node(query.node, Node(" ORDER BY ", order, Node(limit, optional=True), optional=True), kind="query")
        return Query(node, query.kinds, ordered=True, named=query.named)

    def set_operation(self):
        kinds = [self.kind() for _ in range(self.random.randint(1, 3))]
        query = self.branches(kinds, None, 0)
        return self.ordering(query) if self.chance(0.5) else query

    def branches(self, kinds, outer, nesting):
        node = self.branch(kinds, outer, nesting)
        for _ in range(self.one_of((3, 1), (1, 2))):
            sign = self.one_of((3, "UNION"), (3, "UNION ALL"), (2, "INTERSECT"), (2, "EXCEPT"), (0.3, "INTERSECT ALL"), (0.3, "EXCEPT ALL"))
            node = Node(node, f" {sign} ", self.branch(kinds, outer, nesting), kind="query")
        return Query(node, kinds)

    def branch(self, kinds, outer, nesting):
        wanted = [self.random.choice(family(kind)) if self.chance(0.15) else kind for kind in kinds]
        query = self.select(wanted, outer, nesting + 1)
        if self.chance(0.15):
            return Node("(", self.ordering(query).node, ")", kind="query")
        return query.node

    def star(self):
        """All columns of a join of two or three, merged or not, and some of them once more."""
        tables = self.random.sample([table for table in TABLES if table not in self.hidden], self.one_of((2, 2), (1, 3)))
        shared = [name for name in TABLES[tables[0]] if all(name in TABLES[table] for table in tables) and name != "j"]
        merged = self.random.sample(shared, min(len(shared), self.random.randint(1, 2)))
        atoms = [Node(f"{alias}.{name}", kind=kind) for alias, table in zip("xyz", tables) for name, kind in TABLES[table].items()]
        where = Node(" WHERE ", self.expression("bool", Scope(atoms), 2, NESTING), optional=True)
        joined = Node(f"{tables[0]} x", kind="from")
        for alias, table in list(zip("xyz", tables))[1:]:
            how = self.one_of((2, "JOIN"), (1, "LEFT JOIN"), (1, "RIGHT JOIN"), (1, "FULL JOIN"))
            natural = self.chance(0.15)
            how, using = (f"NATURAL {how}", "") if natural else (how, f" USING ({', '.join(merged)})")
            joined = Node(joined, f" {how} {table} {alias}{using}", kind="from")
        items = self.one_of((5, "*"), (1, "y.*, x.*"), (1, f"*, {merged[0]}"), (1, "x.*, y.*, x.*"), (1, f"{merged[0]}, x.{merged[0]}, *"))
        return Query(Node(f"SELECT {items} FROM ", joined, where, kind="query"), [], named=False)

    def ordered_by(self):
        """Rows in the order of what is not shown."""
        source, scope = self.source(None, NESTING)
        if scope.ids is None:
            return self.plain()
        items, kinds = self.items(scope, 2, None, NESTING)
        way = self.one_of((2, ""), (1, " DESC"), (1, " NULLS FIRST"))
        by = Node("(", self.expression(self.kind("ordered"), scope, 2, NESTING), ")", way)
        limit = self.one_of((1, ""), (1, " LIMIT 7"), (1, " LIMIT 5 OFFSET 2"))
        order = Node(" ORDER BY ", Several(", ", [by, *scope.ids], least=1 + len(scope.ids)), limit)
        node = Node("SELECT ", self.named(items), " FROM ", source, self.where(scope, NESTING), order, kind="query")
        return Query(node, kinds, ordered=True)

    def values(self):
        kinds = [self.kind() for _ in range(self.random.randint(1, 3))]
        rows = []
        for _ in range(self.random.randint(1, 4)):
            near = [self.random.choice(family(kind)) if self.chance(0.2) else kind for kind in kinds]
            row = [self.expression(kind, Scope([]), self.random.randint(0, 1), NESTING) for kind in near]
            rows.append(Node("(", Several(", ", row, least=len(row)), ")"))
        return Query(Node("VALUES ", Several(", ", rows), kind="query"), kinds, named=False)

    def distinct_on(self):
        source, scope = self.source(None, NESTING)
        if scope.ids is None:
            return self.plain()
        key = self.expression(self.kind("ordered"), scope, 1, NESTING)
        items, kinds = self.items(scope, 1, None, NESTING)
        order = Several(", ", [key, *scope.ids], least=1 + len(scope.ids))
        pieces = ["SELECT DISTINCT ON (", key, ") ", self.named(items), " FROM ", source, self.where(scope, NESTING), " ORDER BY ", order]
        return Query(Node(*pieces, kind="query"), kinds)

    def select(self, wanted, outer, nesting, naming="apart"):
        """One SELECT. `wanted` are the types of its columns, if they matter. Columns are called `apart`, `alike` or nothing."""
        source, scope = self.sources(outer, nesting)
        where = self.where(scope, nesting)
        form = self.one_of((5, self.rows), (4, self.groups), (2, self.windows))
        items, kinds, rest = form(scope, wanted, nesting)
        distinct = "DISTINCT " if self.chance(0.1) else ""
        columns = self.named(items)
        if naming == "none":
            columns = Several(", ", items)
        elif naming == "alike":
            columns = Several(", ", [Node(item, self.one_of((1, " AS c"), (1, " AS id"), (1, ""))) for item in items])
        node = Node("SELECT ", Node(distinct, optional=True), columns, Node(" FROM ", source), where, *rest, kind="query")
        return Query(node, kinds, named=naming == "apart")

    def named(self, items):
        return Several(", ", [Node(item, f" AS c{at}") for at, item in enumerate(items, 1)])

    def where(self, scope, nesting):
        if scope.outer and self.chance(0.7) and (equal := self.correlated(scope)):
            return Node(" WHERE ", equal, Node(" AND ", self.condition(scope, nesting), optional=self.chance(0.5)), optional=True)
        return Node(" WHERE ", self.condition(scope, nesting), optional=True) if self.chance(0.6) else Node("")

    def condition(self, scope, nesting):
        return Node("(", self.expression("bool", scope, self.random.randint(1, DEPTH), nesting), ")", kind="bool")

    def correlated(self, scope):
        """An equation between this query and one around it."""
        pairs = [(own, other) for own in scope.atoms for other in scope.outer.atoms if own.kind in family(other.kind)]
        if not pairs:
            return None
        own, other = self.random.choice(pairs)
        return Node(own, " = ", other, kind="bool")

    # What a SELECT gives: items, their types, and what comes after WHERE.

    def items(self, scope, depth, wanted, nesting):
        kinds = wanted or [self.item_kind(scope) for _ in range(self.random.randint(1, 4))]
        return [self.expression(kind, scope, self.random.randint(0, depth), nesting) for kind in kinds], kinds

    def item_kind(self, scope):
        return self.random.choice(scope.atoms).kind if self.chance(0.4) else self.kind()

    def rows(self, scope, wanted, nesting):
        items, kinds = self.items(scope, DEPTH, wanted, nesting)
        return items, kinds, []

    def groups(self, scope, wanted, nesting):
        keys = [self.key(scope) for _ in range(self.one_of((2, 0), (4, 1), (2, 2), (1, 3)))]
        made = [self.aggregate(scope) for _ in range(self.random.randint(1, 3))]
        group = inner = Scope(keys + made, scope.outer, visible=Scope(keys, scope.outer))
        if self.chance(0.12):
            inner = Scope(group.atoms + [self.window(group) for _ in range(2)], scope.outer, visible=group.visible)
        items, kinds = self.items(inner, 2, wanted, nesting)
        if not wanted:
            items, kinds = items[:2] + made, kinds[:2] + [atom.kind for atom in made]
        rest = []
        if keys:
            shown = Several(", ", keys)
            sets = [Node("(", Several(", ", self.random.sample(keys, self.random.randint(1, len(keys)))), ")") for _ in range(2)]
            way = self.one_of(
                (20, shown), (1, Node("ROLLUP (", shown, ")")), (1, Node("CUBE (", shown, ")")),
                (1, Node("GROUPING SETS (", Several(", ", [*sets, Node("()")]), ")")), (0.5, Node(keys[0], ", ROLLUP (", shown, ")")),
            )
            rest.append(Node(" GROUP BY ", way, optional=True))
        if self.chance(0.2):
            rest.append(Node(" HAVING ", self.expression("bool", group, 2, nesting), optional=True))
        return items, kinds, rest

    def key(self, scope):
        """What is grouped by: never a literal, which would be a position."""
        if self.chance(0.7):
            return self.random.choice(scope.atoms)
        kind = self.kind()
        return Node("(", self.from_template(kind, scope, 1, NESTING), ")", kind=kind)

    def aggregate(self, scope):
        template = self.random.choice(self.usable("aggregate"))
        node = self.instance(template, self.kind(template.result), scope, self.random.randint(0, 1), NESTING)
        if self.chance(0.2):
            node = Node(node, Node(" FILTER (WHERE ", self.expression("bool", scope, 1, NESTING), ")", optional=True), kind=node.kind)
        return node

    def windows(self, scope, wanted, nesting):
        inner = Scope(scope.atoms + [self.window(scope) for _ in range(3)], scope.outer, visible=scope)
        # The windows come last, and what has them is shown.
        made = inner.atoms[-2:]
        items, kinds = self.items(inner, 2, wanted, nesting)
        if not wanted:
            items, kinds = items[:2] + made, kinds[:2] + [atom.kind for atom in made]
        return items, kinds, []

    def window(self, scope):
        part = [Node("PARTITION BY ", self.random.choice(scope.atoms), " ", optional=True)] if self.chance(0.6) else []
        ordered = [atom for atom in scope.atoms if atom.kind not in self.unordered] or scope.atoms
        chosen = self.random.choices(ordered, k=self.random.randint(1, 2))
        by = [Node(atom, self.one_of((3, ""), (1, " DESC"), (1, " NULLS FIRST"))) for atom in chosen]
        frame = ""
        if scope.ids is not None and self.chance(0.6):
            table, by = "rows", by[:1] + scope.ids
            frame = self.one_of(
                (4, ""), (1, " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"), (1, " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"),
                (1, " ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING"), (1, " ROWS UNBOUNDED PRECEDING"), (1, " GROUPS 1 PRECEDING"),
            )
        else:
            table = "peers"
            frame = self.one_of(
                (8, ""), (1, " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"),
                (1, " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"),
            )
        template = self.random.choice(self.usable(table))
        call = self.instance(template, self.kind(template.result), scope, 0, NESTING)
        order = Node("ORDER BY ", Several(", ", by), optional=table == "peers")
        return Node(call, " OVER (", *part, order, Node(frame, optional=True), ")", kind=call.kind)

    # FROM.

    def sources(self, outer, nesting):
        node, scope = self.source(outer, nesting)
        for _ in range(self.one_of((5, 0), (4, 1), (1, 2) if nesting == 0 else (0, 0))):
            node, scope = self.join(node, scope, *self.source(outer, nesting))
        return node, scope

    def join(self, left, scope, right, other):
        both = Scope(scope.atoms + other.atoms, scope.outer, scope.ids + other.ids if None not in (scope.ids, other.ids) else None)
        how = self.one_of((4, "JOIN"), (3, "LEFT JOIN"), (1, "RIGHT JOIN"), (1, "FULL JOIN"), (0.5, "CROSS JOIN"), (0.5, ","))
        if how in ("CROSS JOIN", ","):
            return Node(left, ", " if how == "," else " CROSS JOIN ", right, kind="from"), both
        if self.chance(0.2) and (shared := [name for name in self.columns(scope) if name in self.columns(other)]):
            using = self.random.sample(shared, self.random.randint(1, min(2, len(shared))))
            both.atoms += [Node(name, kind=self.merged_kind(name, scope, other)) for name in using]
            return Node(left, f" {how} ", right, f" USING ({', '.join(using)})", kind="from"), both
        pairs = [(a, b) for a in scope.atoms for b in other.atoms if b.kind in family(a.kind) and a.kind != "jsonb"]
        conditions = []
        if pairs and (how == "FULL JOIN" or self.chance(0.85)):
            a, b = self.random.choice(pairs)
            sign = " = " if how == "FULL JOIN" else self.one_of((8, " = "), (1, " IS NOT DISTINCT FROM "), (1, " < "))
            conditions.append(Node(a, sign, b))
        if not conditions or self.chance(0.3):
            conditions.append(Node("(", self.expression("bool", both, 2, NESTING), ")", kind="bool"))
        return Node(left, f" {how} ", right, " ON ", Several(" AND ", conditions), kind="from"), both

    @staticmethod
    def columns(scope):
        """Names that can be joined by."""
        return [str(atom).partition(".")[2] for atom in scope.atoms if "." in str(atom) and atom.kind != "jsonb"]

    @staticmethod
    def merged_kind(name, *scopes):
        """Of what USING makes of the columns of that name."""
        kinds = [atom.kind for scope in scopes for atom in scope.atoms if str(atom).partition(".")[2] == name]
        return common(kinds[0], kinds[-1])

    def source(self, outer, nesting):
        """Something in FROM, and the scope of a query that reads it alone."""
        alias = self.fresh("x")
        derived, cte = 2 if nesting < NESTING else 0, 4 if self.ctes else 0
        form = self.one_of((12, "table"), (derived, "derived"), (cte, "cte"), (0.7, "values"), (0.3, "series"))
        if form == "table":
            table = self.one_of((5, "t"), (4, "u"), (3, "w"), (0 if "e" in self.hidden else 1, "e"))
            atoms = [Node(f"{alias}.{name}", kind=kind) for name, kind in TABLES[table].items()]
            ids = None if table == "w" else [Node(f"{alias}.id", kind="int4")]
            return Node(f"{table} {alias}", kind="from"), Scope(atoms, outer, ids)
        if form == "cte":
            name, kinds = self.random.choice(self.ctes)
            return Node(f"{name} {alias}", kind="from"), self.derived(alias, kinds, outer)
        if form == "values":
            kinds = [self.kind() for _ in range(2)]
            values = [[self.literal(kind, how) for kind in kinds] for how in ("!", "", "")]
            rows = [Node("(", Several(", ", row, least=2), ")") for row in values]
            return Node("(VALUES ", Several(", ", rows), f") {alias} (c1, c2)", kind="from"), self.derived(alias, kinds, outer)
        if form == "series":
            return Node(f"generate_series(0, 3) {alias} (c1)", kind="from"), self.derived(alias, ["int4"], outer)
        if self.chance(0.15):
            query = self.branches([self.kind() for _ in range(2)], None, nesting + 1)
            node = Node("SELECT * FROM (", query.node, ") s (c1, c2)")
        else:
            query = self.select(None, None, nesting + 1, naming=self.one_of((4, "apart"), (1, "none"), (1, "alike")))
            node = self.ordering(query).node if self.chance(0.15) else query.node
        columns = "" if query.named else f" ({', '.join(f'c{at}' for at in range(1, len(query.kinds) + 1))})"
        return Node("(", node, f") {alias}{columns}", kind="from"), self.derived(alias, query.kinds, outer)

    @staticmethod
    def derived(alias, kinds, outer):
        return Scope([Node(f"{alias}.c{at}", kind=kind) for at, kind in enumerate(kinds, 1)], outer)

    # Expressions.

    def expression(self, kind, scope, depth, nesting):
        if depth == 0 or self.chance(0.2):
            return self.leaf(kind, scope)
        if nesting < NESTING and self.chance(0.1):
            return self.subquery(kind, scope, nesting)
        return self.from_template(kind, scope, depth, nesting)

    def from_template(self, kind, scope, depth, nesting):
        candidates = [template for template in self.usable("expression") if template.makes(kind)]
        # What makes any type would hide the type's own.
        own = [template for template in candidates if template.result != "any"]
        template = self.random.choice(own if own and self.chance(0.75) else candidates or [None])
        return self.instance(template, kind, scope, depth - 1, nesting) if template else self.leaf(kind, scope)

    def usable(self, table):
        return [template for template in TEMPLATES[table] if template not in self.refused]

    def instance(self, template, kind, scope, depth, nesting):
        """`template` with an expression in each of its places."""
        chosen = {"T": kind, "X": self.kind("any" if self.chance(0.1) else "ordered")}
        filled = []
        for text, place in template.pieces:
            filled.append(text)
            if place == "NAME":
                filled.append(NAMES[kind])
            elif place == "1":
                filled.append(next(piece for piece in filled if isinstance(piece, Node)))
            elif place is not None:
                filled.append(self.place(place, chosen, scope, depth, nesting))
        return Node(*filled, kind=kind)

    def place(self, place, chosen, scope, depth, nesting):
        word = place.strip("=!?")
        kind = chosen.get(word) or self.kind(word)
        if place != word and place[-1] in "!?":
            return self.literal(kind, place[-1])
        if word == kind or word == "T":
            others = [] if place.startswith("=") else NARROWER.get(kind, [])
        else:
            others = family(kind)
        if others and self.chance(0.15):
            kind = self.random.choice(others)
        inner = self.expression(kind, scope, depth, nesting)
        return inner if len(inner.pieces) == 1 else Node("(", inner, ")", kind=kind)

    def leaf(self, kind, scope):
        if self.chance(0.8):
            around = scope.outer if scope.outer and self.chance(0.15) else scope
            if atoms := around.of([kind]) or around.of(NARROWER.get(kind, [])):
                return self.random.choice(atoms)
        return self.literal(kind, self.one_of((4, ""), (1, "!")))

    def literal(self, kind, how=""):
        """`how` is "!" with its type, "?" as a bare string, or "" as people write it."""
        if self.chance(0.05):
            return Node("NULL" if how == "?" else f"NULL::{NAMES[kind]}", kind=kind)
        text = self.random.choice(VALUES[kind])
        if self.has_parameters and self.chance(0.4):
            bare = how == "?" or self.chance(0.3)
            return Node(self.parameter(text) + ("" if bare else f"::{NAMES[kind]}"), kind=kind)
        bare = f"'{text}'"
        if how == "?":
            return Node(bare, kind=kind)
        if how == "" and (kind in ("int4", "bool") or kind == "numeric" and "." in text):
            return Node(f"({text})" if text.startswith("-") else text, kind=kind)
        if how == "" and kind == "text":
            return Node(bare, kind=kind)
        if how == "" and kind in ("date", "timestamp", "interval"):
            return Node(f"{kind.upper()} {bare}", kind=kind)
        return Node(f"{bare}::{NAMES[kind]}", kind=kind)

    def parameter(self, text):
        self.count += 1
        return parameters.mark(self.count, None if self.chance(0.05) else text)

    # Subqueries in expressions.

    def subquery(self, kind, scope, nesting):
        outer = (scope.visible or scope) if self.chance(0.6) else None
        if kind != "bool" or self.chance(0.2):
            return self.scalar(kind, outer, nesting)
        form = self.one_of((4, "exists"), (3, "in"), (2, "not in"), (1, "quantified"), (1, "row in"))
        if form == "exists":
            sign = self.one_of((2, "EXISTS"), (1, "NOT EXISTS"))
            return Node(f"{sign} (", self.select(None, outer, nesting + 1).node, ")", kind="bool")
        if form == "row in":
            kinds = [self.kind("ordered"), self.kind("number")]
            left = Several(", ", [self.leaf(kind, scope) for kind in kinds], least=2)
            return Node("(", left, ") IN (", self.select(kinds, outer, nesting + 1).node, ")", kind="bool")
        kind = self.kind("ordered")
        sign = {
            "in": "IN", "not in": "NOT IN",
            "quantified": self.one_of((1, "= ANY"), (1, "<> ALL"), (1, "> ANY"), (1, "<= ALL"), (1, "= ALL")),
        }[form]
        left = self.expression(kind, scope, 1, NESTING)
        return Node("(", left, f") {sign} (", self.select([kind], outer, nesting + 1).node, ")", kind="bool")

    def scalar(self, kind, outer, nesting):
        """A subquery of at most one row."""
        source, scope = self.sources(outer, nesting + 1)
        where = self.where(scope, nesting + 1)
        aggregates = [template for template in self.usable("aggregate") if template.makes(kind)]
        if aggregates and self.chance(0.8):
            item = self.instance(self.random.choice(aggregates), kind, scope, 1, NESTING)
            return Node("(SELECT ", item, " FROM ", source, where, ")", kind=kind)
        item = self.expression(kind, scope, 1, NESTING)
        return Node("(SELECT ", item, " AS c FROM ", source, where, " ORDER BY c LIMIT 1)", kind=kind)


def constructs():
    """Each construct for each type that it is about, with that type."""
    for line in CONSTRUCTS.split("\n")[1:-1]:
        for name, kind in TABLES["t"].items():
            if name == "id":
                continue
            columns = [(table, column, other) for table in "uw" for column, other in TABLES[table].items() if column != "id"]
            others = [(table, column) for table, column, other in columns if other in family(kind)]
            # With no such column elsewhere, its own table's.
            for table, column in others or [("t", name)] if "{b}" in line else [("", "")]:
                sql = line.replace("{a}", name).replace("{b}", column).replace("{other}", table)
                yield kind, Query(Node(sql, kind="query"), [kind], ordered="LIMIT" in line, named="AS c1" in line)


def probe(template, random):
    """A query with little more than `template`, so that one knows whose fault it is."""
    generator = Generator(random)
    scope = Scope([Node(f"x.{name}", kind=kind) for name, kind in TABLES["t"].items()], ids=[Node("x.id", kind="int4")])
    kind = generator.kind(template.result)
    node = generator.instance(template, kind, scope, 0, NESTING)
    if template.table == "peers":
        node = Node(node, " OVER (PARTITION BY x.o ORDER BY x.i)")
    if template.table == "rows":
        node = Node(node, " OVER (PARTITION BY x.o ORDER BY x.id)")
    return Query(Node("SELECT ", node, " AS c1 FROM t x", kind="query"), [kind])
