"""The page of an architecture: how to load it, its variants, its certificate, its layers and its options."""

import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from scripts.site.rows import Row, megabytes, row
from zoo._loading import summary
from zoo._loading.resolve import shapes_of
from zoo._registry import families
from zoo._registry.entry import Entry

CERTIFICATES = Path(__file__).parents[2] / "docs" / "site" / "certificates.json"


def page(name: str, entries: Sequence[Entry]) -> str:
    """Returns the page of a family with these entries."""
    found = families.named(name)
    assert found is not None, name
    rows = [row(entry) for entry in entries]
    parts = [f"# {name}", found.summary, *_load(entries), *_facts(entries, rows)]
    return "\n\n".join([*parts, *_certificate(name), *_layers(entries), *_options(name)]) + "\n"


def _load(entries: Sequence[Entry]) -> Iterator[str]:
    trained = [entry for entry in entries if entry.weights]
    # The one that most people mean: plain of name, and of ordinary size.
    plain = sorted(trained, key=lambda e: ("." in e.name, not e.metrics, e.num_params))
    example = plain[min(2, len(plain) - 1)] if plain else entries[0]
    arguments = ", pretrained=True" if example.weights else ""
    yield "## Load it"
    yield f'```python\nimport zoo\n\nmodel = zoo.load("{example.name}"{arguments})\n```'
    yield (
        "[Load a model](../load.md) says what else `zoo.load` takes: dtypes, devices, other classes, NNX. "
        "[Look inside](../features.md) has the outputs of inner layers, and [finetune](../finetune.md) "
        "teaches it classes of yours."
    )


def _facts(entries: Sequence[Entry], rows: Sequence[Row]) -> Iterator[str]:
    licenses = Counter(each.license for each in rows).most_common()
    papers = sorted({entry.paper for entry in entries if entry.paper})
    listed = ", ".join(f"{name} ({count})" for name, count in licenses)
    yield f"## Variants\n\nLicenses of the weights: {listed}."
    yield _table(rows)
    if papers:
        yield "Papers: " + ", ".join(f"<{paper}>" for paper in papers) + "."


def _table(rows: Sequence[Row]) -> str:
    titles = ("Name", "Parameters", "File", "Scores", "Input", "Preprocessing", "License")
    lines = [
        f'<tr id="{escape(each.name)}"><th scope="row"><code>{escape(each.name)}</code></th>'
        + "".join(
            f"<td>{escape(text)}</td>"
            for text in (
                f"{each.params:,}", megabytes(each), each.scores, each.input, each.preprocess, each.license,
            )
        )
        + "</tr>"
        for each in rows
    ]  # fmt: skip
    heads = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        '```{raw} html\n<div class="zoo-scroll" tabindex="0" role="region" aria-label="Variants">\n'
        f'<table class="table zoo-table"><thead><tr>{heads}</tr></thead><tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>\n```"
    )


def _certificate(name: str) -> Iterator[str]:
    record = json.loads(CERTIFICATES.read_text(encoding="utf-8"))
    cases = record["families"].get(name)
    if not cases:
        return
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    yield f"""## Certificate

The same random weights in Flax and in PyTorch, compared in float64 on {record["date"]} with {versions}.
Figures are the largest difference, as a part of the largest output or gradient. [Prove](../prove.md) does the
same with models of yours."""
    lines = [
        f"| {case} | {figures['eval']:.1e} | {_figure(figures.get('train'))} | {figures['gradients']:.1e} |"
        for case, figures in cases.items()
    ]
    yield "| configuration | forward | in train mode | gradients |\n| --- | --- | --- | --- |\n" + "\n".join(
        lines
    )


def _figure(difference: float | None) -> str:
    return "not run" if difference is None else f"{difference:.1e}"


def _layers(entries: Sequence[Entry]) -> Iterator[str]:
    smallest = min(entries, key=lambda entry: entry.num_params)
    layers = summary.layers(shapes_of(smallest))
    grouped: dict[str, list[summary.Layer]] = {}
    for layer in layers:
        grouped.setdefault(re.sub(r"_\d+", "_*", layer.layer), []).append(layer)
    yield (
        f"## Layers\n\nThose of `{smallest.name}`, the smallest; `*` is any index. "
        f"`zoo info {smallest.name} --layers` has each with its shapes."
    )
    lines = [
        f"| `{path}` | {len(found)} | {', '.join(dict.fromkeys(_arrays(found)))} "
        f"| {sum(layer.numbers for layer in found):,} |"
        for path, found in grouped.items()
    ]
    yield "| layer | how many | arrays | numbers |\n| --- | --- | --- | --- |\n" + "\n".join(lines)


def _arrays(layers: Sequence[summary.Layer]) -> Iterator[str]:
    for layer in layers:
        yield from re.findall(r"(\w+) \(", layer.arrays)


def _options(name: str) -> Iterator[str]:
    module = importlib.import_module(f"zoo.{name}")
    yield "## Options\n\nKeywords that `zoo.load` hands on to the architecture."
    own = [
        each for each in getattr(module, "__all__", ["create"])
        if inspect.isfunction(getattr(module, each, None)) and each != "create" and each.islower()
    ]  # fmt: skip
    for each in ("create", *own):
        yield f"```{{eval-rst}}\n.. autofunction:: zoo.{name}.{each}\n```"
