"""The reference: a page for each package, with all its public names and links to examples that run."""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping

from zoo._registry import families

PACKAGES = {
    "zoo": "Models by name: load, use, save, publish. [Architectures](../models/index.md) have own pages.",
    "converters": "PyTorch checkpoints to Flax and back, for any module.",
    "zoo.training": "What `zoo train`, `zoo finetune` and `zoo eval` do, as functions.",
    "zoo.metrics": "Distances between pictures, and between sets of them.",
}
BLOCK = re.compile(r"(?<!<!-- needs the network -->\n)^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages(guides: Mapping[str, str]) -> dict[str, str]:
    """Returns the pages by name; guides are the texts whose examples they link to."""
    rows = "\n".join(f"| [{package}]({package}.md) | {text} |" for package, text in PACKAGES.items())
    listed = "```{toctree}\n:hidden:\n\n" + "\n".join(PACKAGES) + "\n```"
    index = f"# API reference\n\n| package | what is in it |\n| --- | --- |\n{rows}\n\n{listed}\n"
    return {"api/index.md": index} | {f"api/{package}.md": _page(package, guides) for package in PACKAGES}


def public(package: str) -> list[str]:
    """Returns the public names of a package without its modules."""
    module = importlib.import_module(package)
    names = [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return sorted(name for name in names if name not in families.names())


def _page(package: str, guides: Mapping[str, str]) -> str:
    module = importlib.import_module(package)
    names = public(package)
    rows = "\n".join(
        f"| {{py:obj}}`{name} <{package}.{name}>` | {_first_line(getattr(module, name))} |" for name in names
    )
    parts = [f"# {package}", PACKAGES[package], f"| name | what it does |\n| --- | --- |\n{rows}"]
    for name in names:
        value = getattr(module, name)
        parts.append(f"## {name}\n\n```{{eval-rst}}\n{_directive(package, name, value)}\n```")
        used = list(_uses(package, name, guides))
        if used:
            parts.append(f"Examples that run: {', '.join(used)}.")
    return "\n\n".join(parts) + "\n"


def _directive(package: str, name: str, value: object) -> str:
    if isinstance(value, type):
        if issubclass(value, Exception):
            return f".. autoexception:: {package}.{name}"
        return f".. autoclass:: {package}.{name}\n   :members:"
    if isinstance(value, Mapping):
        return f".. py:data:: {package}.{name}\n\n   {_first_line(value)}"
    return f".. autofunction:: {package}.{name}"


def _first_line(value: object) -> str:
    if isinstance(value, Mapping):
        return f"By name: {', '.join(map(str, value))}."
    line = (inspect.getdoc(value) or "").partition("\n")[0]
    return line.replace("|", "\\|")


def _uses(package: str, name: str, guides: Mapping[str, str]) -> Iterator[str]:
    """Yields links to the guides whose Python uses a name, the one that does so most first."""
    wanted = re.compile(rf"\b{re.escape(package)}\.{name}\b")
    counts = {
        page: sum(len(wanted.findall(code)) for code in BLOCK.findall(text)) for page, text in guides.items()
    }
    for page in sorted(filter(counts.__getitem__, counts), key=lambda page: -counts[page])[:4]:
        title = TITLE.search(guides[page])
        yield f"[{title[1] if title else page}](../{page})"
