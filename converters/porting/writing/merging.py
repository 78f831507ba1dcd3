"""Bodies that differ in a few statements as one, in which these are optional."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from converters.porting.emit import Code, Statement
from converters.porting.expressions import reference
from converters.porting.graph import Value
from converters.porting.writing import trees
from converters.porting.writing.bodies import Row, given
from converters.porting.writing.naming import Names
from converters.porting.writing.trees import Shape, constant, digits_apart, renamed

LEAST = 0.4  # part of the statements that bodies have in common, if they are one

SMALL = 7  # largest number that is equal to another by chance


@dataclass(eq=False, kw_only=True)
class Body:
    """The body of one class.

    Attributes:
        codes: The bodies that it is made of.
        rows: Its statements; each is that of one or more of the bodies. The last one is what is returned.
        names: Names of the variables.
    """

    codes: list[Code]
    rows: list[Row]
    names: Names = field(default_factory=Names)


def body(code: Code) -> Body:
    """Returns the body of a single scope."""
    assert code.result is not None
    returned = Statement(targets=[], expression=code.result, statement=-1)
    return Body(codes=[code], rows=[{code: each} for each in [*code.statements, returned]])


def equal(one: Body, two: Body) -> bool:
    """Returns whether two bodies are the same but for numbers and activations."""
    if len(one.rows) != len(two.rows):
        return False
    return all(_same(_shape(a), _shape(b)) for a, b in zip(one.rows, two.rows, strict=True)) and connected(
        _joined(one, two, [(i, i) for i in range(len(one.rows))])
    )


def merged(one: Body, two: Body) -> Body | None:
    """Returns two bodies as one; None if they have too little in common."""
    pairs = _aligned([_shape(each) for each in one.rows], [_shape(each) for each in two.rows])
    both = sum(a is not None and b is not None for a, b in pairs)
    if both - 1 < LEAST * (len(pairs) - 1) or both < 2 or None in pairs[-1]:  # what they return
        return None
    made = _joined(one, two, pairs)
    trial = copied(made)
    finish(trial)
    return made if connected(trial) else None


def copied(body: Body) -> Body:
    """Returns a body with statements of its own."""
    rows = [{code: trees.copied_statement(each) for code, each in row.items()} for row in body.rows]
    return Body(codes=body.codes, rows=rows)


def _joined(one: Body, two: Body, pairs: Sequence[tuple[int | None, int | None]]) -> Body:
    rows: list[Row] = []
    for a, b in pairs:
        rows.append({**(one.rows[a] if a is not None else {}), **(two.rows[b] if b is not None else {})})
    return Body(codes=[*one.codes, *two.codes], rows=rows)


def connected(made: Body) -> bool:
    """Lets values that are one share a variable; returns whether each body still reads what it did."""
    names = made.names = Names()
    parameters = {code: [*given(code).values()] for code in made.codes}
    for same in zip(*parameters.values(), strict=True):
        names.join(same)
    for row in made.rows:
        for statement in row.values():
            names.join_loops(statement)
        for same in zip(*(trees.shape(each).values for each in row.values()), strict=True):
            names.join(same)
    return all(
        names.right(parameters[code], [row[code] for row in made.rows if code in row]) for code in made.codes
    )


def _shape(row: Row) -> Shape:
    return trees.shape(next(iter(row.values())))


def _same(one: Shape, two: Shape) -> bool:
    """Returns whether statements are equal but for numbers and activations."""
    pairs = zip(map(constant, one.constants), map(constant, two.constants), strict=True)
    return one.tokens == two.tokens and all(a == b for a, b in pairs if isinstance(a, str))


def _score(one: Shape, two: Shape) -> float:
    """Returns how alike statements are; 0 if they cannot be one.

    Names of layers may differ in their numbers.
    """
    if one.tokens != two.tokens:
        return 0
    pairs = [*zip(map(constant, one.constants), map(constant, two.constants), strict=True)]
    if any(digits_apart(a)[0] != digits_apart(b)[0] for a, b in pairs if isinstance(a, str)):
        return 0
    equal: float = sum(bool(a == b) for a, b in pairs) / max(len(pairs), 1)
    alike: float = 2 if _pattern(one) == _pattern(two) else 0
    return 2 + equal + alike


def _pattern(found: Shape) -> list[tuple[int, int]]:
    """Returns which numbers are equal, as the channels and groups of a depthwise convolution."""
    numbers = [*map(constant, found.constants)]
    large = [at for at, each in enumerate(numbers) if type(each) is int and each > SMALL]
    return [(at, first) for at in large if (first := numbers.index(numbers[at])) != at]


def _aligned(one: list[Shape], two: list[Shape]) -> list[tuple[int | None, int | None]]:
    """Returns the longest common subsequence, and what is in one alone, in order."""
    best = [[0.0] * (len(two) + 1) for _ in range(len(one) + 1)]
    score = [[_score(a, b) for b in two] for a in one]
    for i in reversed(range(len(one))):
        for j in reversed(range(len(two))):
            both = score[i][j] and score[i][j] + best[i + 1][j + 1]
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    found: list[tuple[int | None, int | None]] = []
    i = j = 0
    while i < len(one) or j < len(two):
        if i < len(one) and j < len(two) and score[i][j] and best[i][j] == score[i][j] + best[i + 1][j + 1]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif i < len(one) and (j == len(two) or best[i][j] == best[i + 1][j]):
            found.append((i, None))
            i += 1
        else:
            found.append((None, j))
            j += 1
    return found


def finish(made: Body) -> None:
    """Copies a value that an optional statement replaces for some readers, and others go on to read.

    As `identity = x` before `if self.downsample`.
    """
    for _ in range(3):
        found = _replaced_too_early(made)
        if found is None:
            return
        where, originals, readers = found
        copies: Row = {}
        for code in made.codes:
            value = originals[code]
            copy = Value(shape=value.shape, dtype=value.dtype, name="")
            copies[code] = Statement(targets=[copy], expression=reference(value), statement=-1)
            for index in readers:
                if code in made.rows[index]:
                    renamed(made.rows[index][code], {value: copy})
        made.rows.insert(where, copies)


def _replaced_too_early(made: Body) -> tuple[int, dict[Code, Value], list[int]] | None:
    sites = {code: _sites(made, code) for code in made.codes}
    for row in made.rows:
        if len(row) < 2:
            continue
        shapes = {code: trees.shape(each).values for code, each in row.items()}
        for place in zip(*shapes.values(), strict=True):
            found = {sites[code].get(value) for code, value in zip(row, place, strict=True)}
            if len(found) < 2 or None in found:
                continue
            first, *others = sorted(each for each in found if each is not None)
            originals = {
                code: value for code in made.codes for value, at in sites[code].items() if at == first
            }
            if len(originals) < len(made.codes):
                continue
            if any(_read_after(made, code, originals[code], others[0][0]) for code in made.codes):
                readers = [
                    i
                    for i, each in enumerate(made.rows)
                    if i >= others[0][0] and _differs(each, sites, first)
                ]
                return max(others[0][0], 0), originals, readers
    return None


def _differs(row: Row, sites: dict[Code, dict[Value, tuple[int, int]]], first: tuple[int, int]) -> bool:
    """Returns whether some bodies read the value made at a place there, and others another."""
    values = [[sites[code].get(v) for v in trees.shape(each).values] for code, each in row.items()]
    return any(first in place and len({*place}) > 1 for place in zip(*values, strict=True))


def _sites(made: Body, code: Code) -> dict[Value, tuple[int, int]]:
    """Returns where each value is made: the number of the row, -1 for parameters, and which of it."""
    found = {value: (-1, at) for at, value in enumerate(given(code).values())}
    for index, row in enumerate(made.rows):
        if code in row:
            found.update({value: (index, at) for at, value in enumerate(trees.made(row[code]))})
    return found


def _read_after(made: Body, code: Code, value: Value, index: int) -> bool:
    """Returns whether a body that has an optional statement reads a value after it."""
    rows = [row for row in made.rows[index + 1 :] if code in row]
    return code in made.rows[index] and any(value in trees.references(row[code]) for row in rows)
