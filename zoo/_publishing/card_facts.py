"""License, metrics and paper of a model, as the card of its repository states them."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo._publishing.hub_terms import LICENSES, metric_name
from zoo._registry import strict_yaml

HEADER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*\r?(?:\n|\Z)", re.DOTALL)
ARXIV = re.compile(r"arxiv(?:\.org/(?:abs|pdf)/|:)([0-9]{4}\.[0-9]{4,5})", re.IGNORECASE)
NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The facts of a card that an entry has a field for.

    Attributes:
        license: SPDX id, or the card's own word for another license; None if it states none.
        metrics: Results of the model-index by `dataset_split_metric`, each number as the card has it.
        paper: Address of the only paper that the card links on arXiv.
        notes: Sentences about what was left out, and why.
    """

    license: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    paper: str | None = None
    notes: tuple[str, ...] = ()


def read_card(content: bytes) -> CardFacts:
    """Reads a README.md: its YAML header, and the links to arXiv in all of it."""
    text = content.decode("utf-8", "replace")
    notes: list[str] = []
    header = _header(text, notes)
    return CardFacts(
        license=_license(header),
        metrics=_metrics(header, notes),
        paper=_paper(text, notes),
        notes=tuple(notes),
    )


def _header(text: str, notes: list[str]) -> Mapping[str, Any]:
    """Returns the YAML header; empty where there is none, or it is not read safely."""
    found = HEADER.match(text)
    if found is None:
        return {}
    problems: list[str] = []
    value = strict_yaml.read(found[1].replace("\t", " ").encode(), problems)
    if problems:
        notes.append(f"the header of the card is not read: {problems[0]}")
    return value if isinstance(value, dict) and not problems else {}


def _license(header: Mapping[str, Any]) -> str | None:
    value = header.get("license")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value == "other":
        value = header.get("license_name")
    if not isinstance(value, str) or value in ("", "unknown", "other"):
        return None
    return LICENSES.get(value.lower(), value)


def _metrics(header: Mapping[str, Any], notes: list[str]) -> dict[str, float]:
    """Returns the results that have a name and one number; notes the others."""
    found: dict[str, set[float]] = {}
    for name, value in _results(header):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if number and NAME.fullmatch(name):
            found.setdefault(name, set()).add(float(value))
        else:
            notes.append(f"a metric of the card is left out: {name or 'without a name'} is {value!r}")
    for name, values in found.items():
        if len(values) > 1:
            notes.append(f"a metric of the card is left out: {name} has {len(values)} values")
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _results(header: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the name and value of each metric of the model-index, if it is of one model."""
    models = _list(header.get("model-index"))
    for result in _list(models[0].get("results")) if len(models) == 1 else ():
        dataset = _mapping(result.get("dataset"))
        kind, config, split = (dataset.get(key) for key in ("type", "config", "split"))
        named = f"{kind}_{config}" if isinstance(config, str) and config != "default" else str(kind or "")
        for metric in _list(result.get("metrics")):
            name = metric_name(named, str(split) if split else None, str(metric.get("type", "")))
            yield name, metric.get("value")


def _list(value: Any) -> list[Mapping[str, Any]]:
    """Returns the mappings in a list; empty for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _paper(text: str, notes: list[str]) -> str | None:
    papers = [f"https://arxiv.org/abs/{number}" for number in dict.fromkeys(ARXIV.findall(text))]
    if len(papers) > 1:
        notes.append(f"the card links {len(papers)} papers: {', '.join(papers)}; --paper chooses one")
    return papers[0] if len(papers) == 1 else None
