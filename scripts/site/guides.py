"""The hand-written documents as pages of the site; in the repository their links lead to files."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
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
    return found | {path.name: path.read_text(encoding="utf-8") for path in OWN.glob("*.md")}


def page(path: Path) -> str:
    """Returns a document with links to pages, and its drawn graphs as lists: no script draws them."""
    text = path.read_text(encoding="utf-8")
    text = MERMAID.sub(lambda match: _arrows(match[1]), text)
    return LINK.sub(lambda match: _target(path, match[1]) + match[2], text)


def _arrows(graph: str) -> str:
    found: dict[str, list[str]] = {}
    for origin, target in ARROW.findall(graph):
        found.setdefault(origin, []).append(f"`{target}`")
    return "\n".join(f"- `{origin}` imports {', '.join(targets)}" for origin, targets in found.items())


def _target(document: Path, link: str) -> str:
    target = (document.parent / link).resolve()
    where = target.relative_to(ROOT).as_posix()
    if where in DOCUMENTS:
        return DOCUMENTS[where]
    if target.parent == DOCS:
        return target.name
    raise ValueError(f"{document.name} links to {link}, which is no page of the site.")


def copy_files(directory: Path) -> None:
    """Copies pictures, the configuration, the script and the style."""
    shutil.copy(DOCS / "digits.png", directory)
    shutil.copy(OWN / "conf.py", directory)
    shutil.copytree(OWN / "static", directory / "_static", dirs_exist_ok=True)
