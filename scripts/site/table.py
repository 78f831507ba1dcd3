"""The page of all models: a table to search, its data as JSON and CSV, and as a script where no server is."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape
from pathlib import Path
from string import Template

from scripts.site import plot
from scripts.site.rows import Row, row
from zoo._registry.entry import Entry

COLUMNS = (
    ("name", "Name"),
    ("family", "Architecture"),
    ("task", "Task"),
    ("params", "Parameters"),
    ("size", "File"),
    ("top1", "ImageNet top-1"),
    ("input", "Input"),
    ("license", "License"),
)
NUMBERS = ("params", "size", "top1")
TEMPLATE = Path(__file__).parents[2] / "docs" / "site" / "templates" / "models.md"


def data(entries: Sequence[Entry]) -> dict[str, str]:
    """Returns the table's files by name."""
    rows = [row(entry) for entry in entries]
    text = json.dumps([asdict(each) for each in rows], ensure_ascii=False, separators=(",", ":"))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, [each.name for each in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in rows)
    names = [name for name, _ in COLUMNS] + ["estimated"]
    short = [[getattr(each, name) for name in names] for each in rows]
    script = json.dumps({"columns": names, "rows": short}, ensure_ascii=False, separators=(",", ":"))
    return {
        "_static/models.json": text + "\n",
        "_static/models.csv": lines.getvalue(),
        # A page that is opened as a file may run a script beside it, but not read one.
        "_static/models-data.js": f"window.zooModels = {script};\n",
    }


def page(entries: Sequence[Entry]) -> str:
    """Returns the page."""
    rows = [row(entry) for entry in entries]
    heads = "".join(
        f'<th scope="col" data-key="{key}"{" class=zoo-number" if key in NUMBERS else ""}>'
        f'<button type="button">{title}</button></th>'
        for key, title in COLUMNS
    )
    counts: dict[str, int] = {}
    for each in rows:
        counts[each.family] = counts.get(each.family, 0) + 1
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        count=f"{len(rows):,}",
        tasks=_options(rows, "task"),
        families=_options(rows, "family"),
        licenses=_options(rows, "license"),
        heads=heads,
        plot=plot.svg([each for each in rows if each.top1 is not None]),
        scored=sum(each.top1 is not None for each in rows),
        list=", ".join(f"[{name}]({name}.md) ({count})" for name, count in sorted(counts.items())),
    )


def _options(rows: Sequence[Row], name: str) -> str:
    values = sorted({str(getattr(each, name)) for each in rows}, key=str.lower)
    return "".join(f"<option>{escape(value)}</option>" for value in values)
