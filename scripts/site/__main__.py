"""Writes what Sphinx builds the site of.

python -m scripts.site build/docs/source
"""

import sys
from pathlib import Path

from scripts.site import api, architectures, guides, table
from zoo._registry import families, manifest


def write(directory: Path) -> None:
    """Writes all pages below a directory, and the data of the table of models."""
    entries = list(manifest.read().models.values())
    used = {entry.family for entry in entries}
    pages = guides.pages()
    pages |= api.pages(pages)
    pages["models/index.md"] = table.page(entries)
    for name in families.names():
        if name in used:
            pages[f"models/{name}.md"] = architectures.page(name, [e for e in entries if e.family == name])
    for name, text in {**pages, **table.data(entries)}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Sphinx reads again what is newer than its own pages.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    guides.copy_files(directory)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
