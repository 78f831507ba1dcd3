"""The names that torch code gives to its values: the targets of the statement that is running."""

import ast
import linecache
import sys
from functools import cache
from types import FrameType

OWN = (__name__.rpartition(".")[0], "torch")  # packages whose frames are no user's code


def running() -> FrameType | None:
    """Returns the innermost frame of code that is neither torch's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = frame.f_globals.get("__name__", "")
        if not any(package == own or package.startswith(f"{own}.") for own in OWN):
            return frame
        frame = frame.f_back
    return None


@cache
def _statements(file: str) -> list[ast.stmt]:
    """Returns all statements of a file; none where it cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def _at(file: str, line: int) -> ast.stmt | None:
    """Returns the innermost statement at a line."""
    found: ast.stmt | None = None
    for node in _statements(file):
        if node.lineno <= line <= (node.end_lineno or line):
            found = node if found is None or node.lineno >= found.lineno else found
    return found


@cache
def says(file: str, line: int, word: str) -> bool:
    """Returns whether the statement at a line has a word in it."""
    found = _at(file, line)
    end = line if found is None else found.end_lineno or line
    return any(word in linecache.getline(file, each) for each in range(line, end + 1))


@cache
def statement(file: str, line: int) -> tuple[int, tuple[str, ...] | str]:
    """Returns the first line of the statement at a line, and what it assigns to.

    Returns:
        The line, and a name, or several names where the statement unpacks; "" where it assigns to none.
    """
    found = _at(file, line)
    match found:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
            return found.lineno, name
        case ast.AnnAssign(target=ast.Name(id=name)):
            return found.lineno, name
        case ast.Assign(targets=[ast.Tuple(elts=elements)]) if all(isinstance(e, ast.Name) for e in elements):
            return found.lineno, tuple(e.id for e in elements if isinstance(e, ast.Name))
    return (found.lineno if found is not None else line), ""
