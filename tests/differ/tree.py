"""SQL as a tree, so that parts of a query can be left out or put in the place of others."""


# Kinds of nodes that are no expressions.
STRUCTURE = ("query", "from")


class Node:
    """Strings and nodes in a row. `kind` is an expression's type, "query", "from", or None for what nothing else can stand for."""

    def __init__(self, *pieces, kind=None, optional=False):
        self.pieces = list(pieces)
        self.kind = kind
        self.optional = optional
        # What stands here instead while a query is made smaller.
        self.instead = None

    def __str__(self):
        if self.instead is not None:
            return str(self.instead)
        return "".join(str(piece) for piece in self.pieces)

    def children(self):
        return [piece for piece in self.pieces if isinstance(piece, Node)]

    def smaller(self):
        """What may stand here instead, from the smallest to the largest."""
        if self.optional:
            yield ""
        if self.kind is None:
            return
        yield from [below for below in self.below() if below.kind == self.kind]
        if self.kind not in STRUCTURE:
            # An expression of another type is refused where it does not fit.
            yield from [below for below in self.below() if below.kind not in (None, self.kind, *STRUCTURE)]
            yield "NULL"

    def below(self):
        """Nodes under this one as it stands, nearest first."""
        level = [self]
        while level:
            level = [child for node in level for child in node.standing()]
            yield from level

    def standing(self):
        if isinstance(self.instead, Node):
            return [self.instead]
        return [] if self.instead is not None else self.children()


class Several(Node):
    """Nodes of which each but `least` may be left out."""

    def __init__(self, separator, nodes, least=1):
        super().__init__(*nodes)
        self.separator = separator
        self.least = least

    def __str__(self):
        if self.instead is not None:
            return str(self.instead)
        return self.separator.join(str(node) for node in self.pieces)

    def without(self):
        """This with one node less, for each."""
        if len(self.pieces) > self.least:
            for at in range(len(self.pieces)):
                yield Several(self.separator, self.pieces[:at] + self.pieces[at + 1 :], self.least)

    def smaller(self):
        yield from self.without()


class Enough(Exception):
    """Ends the attempts to make a query smaller."""


def shrink(root, fails):
    """Leaves out of `root` what is not needed for `fails()`, which is asked after each attempt and may end this by Enough."""
    try:
        while any(attempt(node, candidate, fails) for node in [root, *root.below()] for candidate in node.smaller()):
            pass
    except Enough:
        pass


def attempt(node, candidate, fails):
    before, was = str(node), node.instead
    node.instead = candidate
    needless = False
    try:
        # Only what is shorter, so that this ends.
        needless = len(str(candidate)) < len(before) and fails()
    finally:
        if not needless:
            node.instead = was
    return needless
