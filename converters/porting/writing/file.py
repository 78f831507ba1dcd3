"""A file of Flax: its head, the functions that Flax lacks, and the classes."""

import importlib.metadata
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from converters.porting.dialects import Dialect
from converters.porting.emit import Code
from converters.porting.writing import helpers, images, nnx_layers, normalization, precision, sequences
from converters.porting.writing.classes import Classes
from converters.porting.writing.methods import methods_source
from converters.porting.writing.source import class_source, created

MOST_WORDS = 4  # modules whose training is told
IMPORTS = {  # what a file imports, if its name is in it
    "Callable": "from collections.abc import Callable",
    "Mapping": "from collections.abc import Mapping",
    "Sequence": "from collections.abc import Sequence",
    "partial": "from functools import partial",
    "count()": "from itertools import count",
    "Any": "from typing import Any",
}


def file_source(
    root: Code, dialect: Dialect, *, batch_norm: str = "copy", left_out: Sequence[str] = ()
) -> tuple[str, str]:
    """Returns the text of a file, and the name of the root's class.

    Args:
        root: The body of the whole module.
        dialect: Flax's way of writing modules, linen or NNX.
        batch_norm: "copy" writes the class into the file, "zoo" imports it.
        left_out: Words for what modules do in training that the bodies do not have.
    """
    classes = Classes(dialect=dialect)
    made = classes.add(root)
    defaults = {each.name: each.defaults for each in classes.made}
    known: dict[str, bool] = {}
    parts = []
    for each in classes.made:
        several = each is made and classes.methods
        parts.append(
            methods_source(each, classes.methods, defaults)
            if several
            else class_source(each, defaults, dialect, known)
        )
        if each.typed:
            defaults[each.name][precision.NAME] = None
    parts.append(created(made, streams=known.get(made.name, False)))
    own = _helpers("\n".join(parts), dialect, batch_norm)
    body = "\n\n\n".join(each for each in [*own, *parts] if each)
    return (
        f"{_head(root.scope.module, left_out)}\n\n{_imports(body, dialect, batch_norm)}\n\n\n{body}\n",
        made.name,
    )


def _helpers(text: str, dialect: Dialect, batch_norm: str) -> list[str]:
    """Returns the sources of the functions and classes that a text uses, and that these use."""
    own = (nnx_layers,) if dialect.declares else ()  # in place of linen's of these names
    known = {
        name: each
        for module in (normalization, helpers, images, sequences, *own)
        for name, each in vars(module).items()
        if (inspect.isfunction(each) or inspect.isclass(each)) and each.__module__ == module.__name__
    }
    if batch_norm == "zoo":
        del known["BatchNorm"]
    found: dict[str, str] = {}
    while True:
        seen = "\n".join([text, *found.values()])
        new = [name for name in known if name not in found and re.search(rf"(?<![\w.]){name}\b", seen)]
        if not new:
            return [found[name] for name in known if name in found]
        for name in new:
            found[name] = inspect.getsource(known[name]).rstrip()


def _imports(body: str, dialect: Dialect, batch_norm: str) -> str:
    def uses(name: str) -> bool:
        return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", body) is not None

    abc = [name for name in ("Callable", "Mapping", "Sequence") if uses(name)]
    standard = ["import math"] if uses("math") else []
    standard += [f"from collections.abc import {', '.join(abc)}"] if abc else []
    standard += [
        line
        for name, line in IMPORTS.items()
        if name not in ("Callable", "Mapping", "Sequence") and uses(name)
    ]
    own = ["from zoo import BatchNorm"] if batch_norm == "zoo" and uses("BatchNorm") else []
    first = ["import flax.linen as nn", "import jax"] if not dialect.declares else ["import jax"]
    last = [dialect.statement] if dialect.declares else []
    flax = first + (["import jax.numpy as jnp"] if uses("jnp") else [])
    flax += ["import numpy as np"] if uses("np") else []
    flax += ["from jax.typing import DTypeLike"] if uses("DTypeLike") else []
    return "\n\n".join("\n".join(each) for each in (standard, [*flax, *last, *own]) if each)


def _head(module: Any, left_out: Sequence[str]) -> str:
    kind = type(module)
    package = kind.__module__.partition(".")[0]
    what = (
        f"Its classes and layers have the names of those in PyTorch's `{kind.__module__}`. {_origin(package)}"
        if package != "__main__"  # a script or notebook
        else "Its classes and layers have the names of those in PyTorch."
    )
    paragraphs = [what, *_training(left_out)]
    lines = [line for each in paragraphs for line in ("", *textwrap.wrap(each, 100))]
    return "\n".join([f'"""{kind.__name__} in Flax.', *lines, '"""'])


def _training(left_out: Sequence[str]) -> Iterator[str]:
    """Yields a sentence on what training does in PyTorch and not here, if that is something."""
    if left_out:
        more = [f"and {len(left_out) - MOST_WORDS} more do"] if len(left_out) > MOST_WORDS else []
        told = "; ".join([*left_out[:MOST_WORDS], *more])
        yield f"What only training does in PyTorch is left out; there, {told}."


def _origin(package: str) -> str:
    """Returns what a file derives from, and under which licence that is."""
    try:
        found = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return f"Derived from the source code of `{package}`, whose licence applies."
    licence = next((found[key] for key in ("License-Expression", "License") if key in found), "")
    stated = f"licensed {licence}" if licence and "\n" not in licence else "whose licence applies"
    return f"Derived from the source code of {package} {found['Version']}, {stated}."
