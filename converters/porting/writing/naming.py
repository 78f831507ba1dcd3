"""Names of variables: the torch code's own, used again where the value before is no longer needed."""

import ast
import keyword
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

from converters.porting.emit import Statement
from converters.porting.graph import Value
from converters.porting.writing.compound import Branch, Loop
from converters.porting.writing.trees import references

RESERVED = {"self", "train", "rngs", "nn", "nnx", "jnp", "jax", "conv", "norm", "partial", *keyword.kwlist}
PLAINER = {"input": "x", "inputs": "x", "hidden_states": "x"}  # torch's words for what Flax code calls x


class Names:
    """Values that share a variable, and the variables' names."""

    def __init__(self) -> None:
        self._parent: dict[Value, Value] = {}
        self._hints: dict[Value, str] = {}
        self.of: dict[Value, str] = {}

    def find(self, value: Value) -> Value:
        """Returns the value that stands for all that share a variable with this one."""
        while (parent := self._parent.get(value, value)) is not value:
            value = parent
        return value

    def join(self, values: Iterable[Value]) -> None:
        """Lets values share a variable."""
        first, *rest = map(self.find, values)
        for each in rest:
            other = self.find(each)
            if other is not self.find(first):
                self._parent[other] = self.find(first)

    def join_loops(self, statement: Statement) -> None:
        """Lets what a loop hands on share a variable."""
        if isinstance(statement, Loop):
            for turn, target in zip(statement.carried, statement.targets, strict=True):
                self.join([*turn, target])
            for each in statement.body:
                self.join_loops(each)
        if isinstance(statement, Branch):
            for end in statement.ends:
                self.join(end)
            for each in (*statement.body, *statement.orelse):
                self.join_loops(each)

    def right(self, parameters: Sequence[Value], statements: Sequence[Statement]) -> bool:
        """Returns whether every name stands for what it should when the statements run."""
        holds = {self.find(value): value for value in parameters}
        return all(self._runs(each, holds) for each in statements)

    def _runs(self, statement: Statement, holds: dict[Value, Value]) -> bool:
        if any(holds.get(self.find(value)) is not value for value in references(statement)):
            return False
        if isinstance(statement, Loop):
            outer = [v for v in references(statement) if v not in {turn[0] for turn in statement.carried}]
            for _, inside, _ in statement.carried:
                holds[self.find(inside)] = inside
            for value in references(statement.variables):
                holds[self.find(value)] = value
            if not all(self._runs(each, holds) for each in statement.body):
                return False
            if any(holds.get(self.find(value)) is not value for value in outer):
                return False
        if isinstance(statement, Branch) and not self._runs_in_both(statement, holds):
            return False
        for value in statement.targets:
            holds[self.find(value)] = value
        return True

    def _runs_in_both(self, branch: Branch, holds: dict[Value, Value]) -> bool:
        """Returns whether the statements of either mode read what they should, and keeps what both leave."""
        after: list[dict[Value, Value]] = []
        for number, arm in enumerate((branch.body, branch.orelse), 1):
            own = {**holds}
            if not all(self._runs(each, own) for each in arm):
                return False
            if any(own.get(self.find(end[number])) is not end[number] for end in branch.ends):
                return False
            after.append(own)
        for key in {*after[0], *after[1]}:
            if after[0].get(key) is not after[1].get(key):
                holds.pop(key, None)
            else:
                holds[key] = after[0][key]
        return True

    def choose(self, parameters: Mapping[str, Value], rows: Sequence[tuple[Statement, object]]) -> None:
        """Names the variables of a body.

        Args:
            parameters: Parameters of the body, by their names.
            rows: The statements, each with its condition; None if it always runs.
        """
        lives = _Lives(self)
        for name, value in parameters.items():
            lives.made(value, hint=name)
        lives.run(rows)
        has = {hint for life in lives.of.values() for hint in life.hints}
        taken: dict[str, list[_Life]] = {}
        for life in sorted(lives.of.values(), key=lambda each: each.first):
            hints = [*dict.fromkeys(each for each in life.hints if each and not each.isupper())]
            hints = hints or [self._after(life) or "x"]
            hints = [each if PLAINER.get(each, each) in has else PLAINER.get(each, each) for each in hints]
            name = next(
                each
                for each in chain(hints, _alternatives(hints[-1]))
                if each not in RESERVED and not any(life.overlaps(other) for other in taken.get(each, []))
            )
            taken.setdefault(name, []).append(life)
            self.of[life.value] = name

    def _after(self, life: "_Life") -> str:
        found = [self.of[each] for each in life.sources if each in self.of]
        return found[0].rstrip("0123456789") if found else ""

    def write(self, node: ast.AST) -> None:
        """Puts the names into an expression."""
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and hasattr(each, "value"):
                each.id = self.of[self.find(each.value)]


def _alternatives(hint: str) -> Iterator[str]:
    """Yields a name, and others for where it is taken."""
    yield hint
    yield from {"i": ("j", "k")}.get(hint, ())
    if hint in RESERVED:
        yield f"{hint}_"
    for number in count(2):
        yield f"{hint}{number}"


@dataclass(eq=False, kw_only=True)
class _Life:
    """A variable: the parts of the body from where it is made to where it is read last."""

    value: Value
    parts: list[list[int]] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    sources: list[Value] = field(default_factory=list)

    @property
    def first(self) -> int:
        return self.parts[0][0]

    def overlaps(self, other: "_Life") -> bool:
        """Returns whether two need a variable each: at one time, or as one of them is no array but a list."""
        if (not self.value.dtype) != (not other.value.dtype):
            return True
        return any((a[0] < b[1] and b[0] < a[1]) or a[0] == b[0] for a in self.parts for b in other.parts)


class _Lives:
    """When each variable of a body is needed."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._at = 0
        self._branch = 0  # where the statements under the condition begin; 0 without one
        self.of: dict[Value, _Life] = {}

    def made(self, value: Value, sources: Sequence[Value] = (), hint: str = "") -> None:
        key = self._names.find(value)
        life = self.of.setdefault(key, _Life(value=key))
        if life.parts and self._branch and life.parts[-1][1] < self._branch:
            life.parts[-1][1] = self._at  # where the condition does not hold, it is what it was
        else:
            life.parts.append([self._at, self._at])
        life.hints.append(hint or value.name)
        life.sources += sources

    def read(self, value: Value) -> None:
        key = self._names.find(value)
        if key in self.of:
            self.of[key].parts[-1][1] = self._at

    def run(self, rows: Sequence[tuple[Statement, object]]) -> None:
        before: object = None
        made: list[Statement] = []
        for statement, condition in rows:
            self._at += 1
            if condition is None or condition != before:
                self._branch = self._at if condition is not None else 0
            if condition != before and before is not None:
                self._end(made)
            made = [*made, statement] if condition is not None and condition == before else [statement]
            before = condition
            self._statement(statement)
        self._branch = 0

    def _end(self, branch: Sequence[Statement]) -> None:
        """Lets what a branch makes on the way have the name of what it makes in the end."""
        final = self.of[self._names.find(branch[-1].targets[-1])] if branch[-1].targets else None
        for value in [value for each in branch[:-1] for value in each.targets]:
            life = self.of[self._names.find(value)]
            if final is not None and life is not final and len(life.parts) == 1 and final.hints[0]:
                life.hints.insert(0, final.hints[0])

    def _statement(self, statement: Statement) -> None:
        for value in references(statement):
            self.read(value)
        if isinstance(statement, Loop):
            self._loop(statement)
        if isinstance(statement, Branch):
            self._branches(statement)
        sources = [self._names.find(value) for value in references(statement)]
        for value in statement.targets:
            self.made(value, sources)

    def _branches(self, branch: Branch) -> None:
        around = self._branch
        for arm in (branch.body, branch.orelse):
            self._branch = self._at + 1
            for each in arm:
                self._at += 1
                self._statement(each)
        self._at += 1
        self._branch = around
        for value in [*(each for end in branch.ends for each in end), *branch.targets, *references(branch)]:
            self.read(value)

    def _loop(self, loop: Loop) -> None:
        branch, self._branch = self._branch, 0
        for value in [*references(loop.variables), *(turn[1] for turn in loop.carried)]:
            self.made(value)
        for each in loop.body:
            self._at += 1
            self._statement(each)
        self._at += 1
        for value in [*references(loop), *references(loop.variables), *(turn[2] for turn in loop.carried)]:
            self.read(value)
        self._branch = branch
