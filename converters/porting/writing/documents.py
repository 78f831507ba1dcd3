"""Text with places where a line may break; a group breaks all of its own, from the outside to the inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

INDENT = 4


@dataclass(frozen=True)
class Line:
    """A place where a line may break; otherwise a space, or nothing."""

    flat: str = " "


@dataclass(frozen=True)
class Broken:
    """Text only where the group is broken, such as a comma after the last item."""

    text: str


@dataclass(frozen=True)
class Indented:
    """Content that is further to the right, where lines break in it."""

    content: "Document"


@dataclass(frozen=True)
class Group:
    """Content on one line if it fits, else all its own lines are broken."""

    content: "Document"


Document: TypeAlias = "str | Line | Broken | Indented | Group | tuple[Document, ...]"
Frame: TypeAlias = tuple[int, bool, Document]  # indentation, whether lines break, content

SOFT = Line("")


def joined(items: Sequence[Document], between: Sequence[Document]) -> Document:
    """Returns items with something between each two."""
    found: list[Document] = []
    for index, each in enumerate(items):
        found += [*between, each] if index else [each]
    return tuple(found)


def bracketed(opening: str, items: Sequence[Document], closing: str, *, lined: bool) -> Document:
    """Returns items in brackets.

    Args:
        opening: The bracket before.
        items: The items.
        closing: The bracket after.
        lined: If true, all may stand on one line between the brackets' lines, as arguments do.
    """
    if not items:
        return f"{opening}{closing}"
    last = "" if lined and len(items) == 1 else ","  # one argument alone gets no comma
    content: Document = (joined(items, (",", Line())), Broken(last))
    if lined:
        content = Group(content)
    return Group((opening, Indented((SOFT, content)), SOFT, closing))


def rendered(document: Document, width: int, indent: int) -> str:
    """Returns the text of a document that begins at an indentation, in lines of at most a width."""
    out: list[str] = []
    column = indent
    stack: list[Frame] = [(indent, True, document)]
    while stack:
        level, breaks, each = stack.pop()
        match each:
            case str():
                out.append(each)
                column += len(each)
            case Line():
                out.append("\n" + " " * level if breaks else each.flat)
                column = level if breaks else column + len(each.flat)
            case Broken():
                out.append(each.text if breaks else "")
                column += len(each.text) if breaks else 0
            case Indented():
                stack.append((level + INDENT, breaks, each.content))
            case Group():
                fits = _fits((level, False, each.content), stack, width - column)
                stack.append((level, not fits, each.content))
            case tuple():
                stack += [(level, breaks, part) for part in reversed(each)]
    return "".join(out)


def _fits(frame: Frame, rest: Sequence[Frame], room: int) -> bool:
    """Returns whether content fits on the line, with what follows it up to where that may break."""
    stack, after = [frame], len(rest)
    while room >= 0:
        if not stack:
            if not after:
                return True
            after -= 1
            stack.append(rest[after])
        level, breaks, each = stack.pop()
        match each:
            case str():
                room -= len(each)
            case Line():
                if breaks:
                    return True
                room -= len(each.flat)
            case Broken():
                room -= len(each.text) if breaks else 0
            case Indented() | Group():
                stack.append((level, breaks, each.content))
            case tuple():
                stack += [(level, breaks, part) for part in reversed(each)]
    return False
