"""Compares a state dict with the links of a module, and explains what does not fit."""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from converters.inspection import Variable
from converters.matching.arrays import dtype_kind
from converters.matching.links import Link
from converters.matching.rules import Rule
from converters.tensors import Tensors, aliases_of, notes_of

# BatchNorm's counter has no effect unless momentum is None, which Flax has no counterpart for.
ALWAYS_IGNORED = (r"(.*\.)?num_batches_tracked",)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The links with the state dict's own names, and what is wrong or worth a note."""

    links: tuple[Link, ...]
    tensors: Tensors
    prefix: str
    problems: Sequence[str]
    missing: Sequence[str] = field(default=())
    left_over: Sequence[str] = field(default=())
    ignored: Sequence[str] = field(default=())
    lacking: tuple[Link, ...] = ()  # whose tensors are missing, and may be
    advice: tuple[Rule, ...] = ()  # with which there would be fewer problems

    @property
    def initial(self) -> tuple[Variable, ...]:
        """The arrays that keep their initial values."""
        return tuple(array for link in self.lacking for array in link.arrays)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user of a conversion that succeeded."""
        notes = list(notes_of(self.tensors))
        if self.prefix:
            notes.append(f"took the prefix {self.prefix!r} off every name")
        if self.ignored:
            shown = ", ".join(self.ignored[:3]) + (" ..." if len(self.ignored) > 3 else "")
            tensors = "1 tensor" if len(self.ignored) == 1 else f"{len(self.ignored)} tensors"
            notes.append(f"left out {tensors} that Flax has no array for: {shown}")
        if self.initial:
            shown = ", ".join(map(str, self.initial[:3])) + (" ..." if len(self.initial) > 3 else "")
            arrays = "1 array" if len(self.initial) == 1 else f"{len(self.initial)} arrays"
            notes.append(f"{arrays} that the file lacks kept the initial values: {shown}")
        notes += dict.fromkeys(link.note for link in self.links if link.note)
        for lossy, count in Counter(link.lossy for link in self.links if link.lossy).items():
            notes.append(f"{lossy} ({count} times): exact only with like=")
        return tuple(notes)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Names of tensors of several axes that keep their order though no row or rule says so."""
        return tuple(name for link in self.links if link.unsure and not link.settled for name in link.tensors)

    @property
    def swappable(self) -> tuple[str, ...]:
        """Those of which another order of axes would fit as well."""
        sizes = {name: [n for n in self.tensors.shapes[name] if n > 1] for name in self.doubts}
        return tuple(name for name in sizes if len(set(sizes[name])) < len(sizes[name]))

    def ties(self) -> dict[str, str]:
        """Tensors without an array of their own -> the tensor with one that is the very same."""
        used = {name for link in self.links for name in link.tensors}
        aliases = aliases_of(self.tensors)
        groups: dict[str, str] = {}
        for name in used:
            groups.setdefault(aliases.get(name, name), name)
        found = {}
        for name in self.tensors:
            if name not in used:
                twin = groups.get(aliases.get(name, name)) or self._same(name, used)
                if twin:
                    found[name] = twin
        return found

    def _same(self, name: str, used: set[str]) -> str | None:
        """Files that cannot share tensors write a tied matrix twice; chance makes no equal matrices."""
        shapes, dtypes = self.tensors.shapes, self.tensors.dtypes
        if len(shapes[name]) < 2:
            return None
        for other in used:
            if shapes[other] == shapes[name] and dtypes[other] == dtypes[name]:
                tensor = self.tensors[name]
                if tensor.tobytes() == self.tensors[other].tobytes() and (tensor != tensor.flat[0]).any():
                    return other
        return None

    def explanation(self, module: str) -> str:
        """All problems in one message, with the nearest names."""
        lines = [f"the state dict does not fit {module}:", *(f"  {problem}" for problem in self.problems)]
        for name in self.missing[:5]:
            near = difflib.get_close_matches(name, self.left_over[:1000], n=2, cutoff=0.8)
            if near:
                lines.append(f"{name!r} is perhaps {' or '.join(map(repr, near))}")
        if self.left_over and not self.missing:
            example = re.escape(self.left_over[0].removeprefix(self.prefix))
            lines.append(f"if the module needs none of what is left over, pass ignore=(r'{example}', ...)")
        if self.missing and not self.left_over:
            example = re.escape(self.missing[0].removeprefix(self.prefix))
            lines.append(f"if what is missing may keep its initial values, pass missing=(r'{example}', ...)")
        return "\n".join(lines)


def doubt(names: Sequence[str]) -> str:
    """Returns a sentence about tensors whose axes were taken to be in the module's order."""
    listed = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return (
        f"the axes of {listed} were taken to be in the module's order, which no layer of the table says; "
        "converters.Transpose changes it, converters.Keep confirms it"
    )


def doubts(fit: Fit) -> tuple[str, ...]:
    """Returns notes about such tensors, for the user of a module of one's own."""
    return (doubt(fit.doubts),) if fit.doubts else ()


def fit_links(
    links: Sequence[Link], tensors: Tensors, prefix: str, ignore: Sequence[str], missing: Sequence[str] = ()
) -> Fit:
    """Compares what the links ask for with what there is.

    Args:
        links: Links of a module.
        tensors: The state dict.
        prefix: Prefix of its names, before those of the links.
        ignore: Regular expressions for whole names that may be left over.
        missing: Regular expressions for whole names, or paths of arrays, that may be missing.
    """
    links = tuple(replace(link, tensors=tuple(prefix + name for name in link.tensors)) for link in links)
    lacking = tuple(link for link in links if missing and _may_lack(link, tensors, prefix, missing))
    links = tuple(link for link in links if link not in lacking)
    wanted = Counter(name for link in links for name in link.tensors)
    left_over, ignored = _rest(tensors, wanted, prefix, ignore)
    return Fit(
        links=links,
        tensors=tensors,
        prefix=prefix,
        problems=[
            *itertools.chain.from_iterable(_unfit(link, tensors) for link in links),
            *_asked_twice(links, wanted),
            *_not_computed(tensors, wanted),
            *_nothing(links, tensors),
            *(f"left over  {name}" for name in left_over),
        ],
        # A lazy mapping would read the tensor to answer whether it is in it.
        missing=[name for link in links for name in link.tensors if name not in tensors.shapes],
        left_over=left_over,
        ignored=ignored,
        lacking=lacking,
    )


def _may_lack(link: Link, tensors: Tensors, prefix: str, missing: Sequence[str]) -> bool:
    absent = [name.removeprefix(prefix) for name in link.tensors if name not in tensors.shapes]
    paths = [str(array) for array in link.arrays]
    return bool(absent) and any(
        all(any(re.fullmatch(pattern, name) for pattern in missing) for name in names)
        for names in (absent, paths)
    )


def _unfit(link: Link, tensors: Tensors) -> Iterator[str]:
    """Yields a line for each tensor of a link that is missing or not what its arrays need."""
    for name, shape in zip(link.tensors, link.shapes, strict=True):
        if name not in tensors.shapes:
            whole = getattr(tensors, "parts", {}).get(name)
            advice = f"; it is a part of {whole}, which is computed: name that" if whole else ""
            yield f"missing    {name}, for {' and '.join(map(str, link.arrays))}{advice}"
        elif shape is not None and tensors.shapes[name] != shape:
            advice = f"; {link.advice}" if link.advice else ""
            yield f"misshapen  {name}: {tensors.shapes[name]} for {shape}{advice}"
        elif dtype_kind(tensors.dtypes[name]) != dtype_kind(link.arrays[0].dtype):
            yield f"wrong kind {name}: {tensors.dtypes[name]} for {link.arrays[0].dtype}"


def _asked_twice(links: Sequence[Link], wanted: Mapping[str, int]) -> Iterator[str]:
    for name, count in wanted.items():
        if count > 1:
            arrays = ", ".join(str(a) for link in links for a in link.arrays if name in link.tensors)
            yield f"duplicated {name}: asked for {count} times, by {arrays}"


def _nothing(links: Sequence[Link], tensors: Tensors) -> Iterator[str]:
    if not links and len(tensors):
        yield "nothing    is filled: no array of the module asks for a tensor of the state dict"


def _not_computed(tensors: Tensors, wanted: Container[str]) -> Iterator[str]:
    refused: Mapping[str, str] = getattr(tensors, "refused", {})
    yield from (f"computed   {name}: {reason}" for name, reason in refused.items() if name in wanted)


def _rest(
    tensors: Tensors, wanted: Container[str], prefix: str, ignore: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Returns the tensors that no link asks for: those left over, and those that may be."""
    patterns = [re.compile(pattern) for pattern in (*ALWAYS_IGNORED, *ignore)]
    aliases = aliases_of(tensors)
    shared = {aliases.get(name, name) for name in tensors if name in wanted}
    left_over: list[str] = []
    ignored: list[str] = []
    for name in tensors:
        if name not in wanted:
            own = name.removeprefix(prefix)
            may = aliases.get(name, name) in shared or any(pattern.fullmatch(own) for pattern in patterns)
            (ignored if may else left_over).append(name)
    return left_over, ignored
