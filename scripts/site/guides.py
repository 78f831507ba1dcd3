"""The hand-written documents as pages of the site; in the repository their links lead to files."""

import json
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = DOCS / "notebooks"
OWN = DOCS / "site"  # what is only of the site: its front page, configuration, script and style
DOCUMENTS = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ARROW = re.compile(r"^ +(\w+) --> (\w+)$", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)((?:#[^)]*)?)(?=\))")


def pages() -> dict[str, str]:
    """Returns the texts of all documents by the names of their pages."""
    found = {path.name: page(path) for path in sorted(DOCS.glob("*.md"))}
    found |= {name: page(ROOT / path) for path, name in DOCUMENTS.items()}
    found |= {_target(DOCS, path): notebook(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    return found | {path.name: path.read_text(encoding="utf-8") for path in OWN.glob("*.md")}


def page(path: Path) -> str:
    """Returns a document with links to pages, and its drawn graphs as lists: no script draws them."""
    text = MERMAID.sub(lambda match: _arrows(match[1]), path.read_text(encoding="utf-8"))
    return _linked(path, text)


def notebook(path: Path) -> str:
    """Returns a notebook's texts and code as a page, with the file to download; outputs are not kept."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *others = ("".join(cell["source"]) for cell in cells)
    parts = [title, f"{{download}}`{path.name}` is this page as a notebook."]
    for cell, text in zip(cells[1:], others, strict=True):
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return _linked(path, "\n\n".join(parts) + "\n")


def _linked(path: Path, text: str) -> str:
    return LINK.sub(lambda match: _target(path.parent, match[1]) + match[2], text)


def _arrows(graph: str) -> str:
    found: dict[str, list[str]] = {}
    for origin, target in ARROW.findall(graph):
        found.setdefault(origin, []).append(f"`{target}`")
    return "\n".join(f"- `{origin}` imports {', '.join(targets)}" for origin, targets in found.items())


def _target(directory: Path, link: str | Path) -> str:
    """Returns the name of the page that a link from a file in the directory leads to."""
    target = (directory / link).resolve()
    where = target.relative_to(ROOT).as_posix()
    if where in DOCUMENTS:
        return DOCUMENTS[where]
    if target.parent == DOCS:
        return target.name
    if target.parent == NOTEBOOKS:
        return f"notebook_{target.stem}.md"
    raise ValueError(f"{directory.relative_to(ROOT)} has a link to {link}, which is no page of the site.")


def copy_files(directory: Path) -> None:
    """Copies pictures, notebooks, the configuration, the script and the style."""
    for path in (DOCS / "digits.png", *NOTEBOOKS.glob("*.ipynb")):
        shutil.copy(path, directory)
    shutil.copy(OWN / "conf.py", directory)
    shutil.copytree(OWN / "static", directory / "_static", dirs_exist_ok=True)
