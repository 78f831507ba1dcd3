"""Fields and layers of a model, as `zoo info` shows them."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo._hub import remote_file
from zoo._inference.purpose import purpose, transcribes
from zoo._loading import weights
from zoo._loading.located import Located
from zoo._loading.summary import Layer, preprocessing
from zoo._registry import families
from zoo._registry.entry import UNATTESTED, Digits, Entry, fields_of
from zoo.cli.console import Cell, Shown
from zoo.cli.flags import in_flags

INDEX = re.compile(r"(?<=_)\d+(?=/|$)")


def fields(located: Located) -> dict[str, Cell]:
    """Returns what there is to know of a model, without its layers."""
    entry, how = located.entry, located.entry.preprocess
    found = {
        "name": entry.name,
        "use": use(located),
        "family": _family(entry),
        "parameters": Shown(entry.num_params, f"{entry.num_params:,}"),
        "config": dict(entry.config),
        "inputs": _in_words([*map(asdict, entry.inputs)], _inputs(entry)),
        "classes": _in_words([*entry.class_names], _classes(entry.class_names)),
        "preprocess": how and _in_words(fields_of(how), preprocessing(how)),
        "metrics": dict(entry.metrics),
        **_files(located),
        "license": entry.license,
        "source": entry.source,
        "base model": entry.base_model,
        "paper": entry.paper,
    }
    return {name: cell for name, cell in found.items() if cell or name in ("parameters", "weights")}


def use(located: Located) -> str:
    """Returns what a model is for, with the command."""
    entry, name = located.entry, located.directory or located.entry.name
    if entry.family is None:
        return "a module of your own: give it with --module, or as module= in Python"
    if entry.weights is None and not located.directory:
        return "has no weights: zoo.load makes it with random ones, to be trained"
    if entry.takes_tokens:
        return in_flags(purpose(entry).removeprefix("it "), ())
    if transcribes(entry):
        return f"writes down speech: `zoo transcribe {name} SPEECH.wav`"
    if families.family(entry).sample is not None:
        return f"draws images: `zoo sample {name} --out FILE`"
    if entry.preprocess and entry.config.get("num_classes") != 0:
        what = "digits" if isinstance(entry.preprocess, Digits) else "photos"
        return f"classifies {what}: `zoo predict {name} PICTURE`"
    return "zoo.load gives its outputs, zoo.features those of its layers"


def _family(entry: Entry) -> Cell:
    family = families.named(entry.family)
    return family and Shown(family.name, f"{family.name}: {family.summary}")


def _in_words(value: Any, text: str) -> Cell:
    """Returns a cell whose lists and mappings are JSON's; people and pipes get a text; None for nothing."""
    return Shown(value, text, line=text) if value else None


def _inputs(entry: Entry) -> str:
    return ", ".join(f"{each.name} {each.shape} {each.dtype}" for each in entry.inputs)


def _classes(names: Sequence[str]) -> str:
    return f"{len(names):,}: {', '.join(names[:3])}{', ...' if names[3:] else ''}"


def _files(located: Located) -> dict[str, Cell]:
    """Returns the fields about the file with the weights: where it is, and whether it is here."""
    known = located.entry.weights
    if known is None:
        return {"weights": Shown(None, "none are published: zoo.load initializes the model")}
    source = weights.source(located)
    if source is None:
        here: Path | None = weights.locate(located)
        place: dict[str, Cell] = {"weights": Shown(str(here), str(here if located.directory else known))}
    else:
        here = remote_file.cached_path(source)
        away = f"no: `zoo fetch {located.entry.name}` downloads them"
        path = None if here is None else str(here)
        place = {"weights": str(known), "cached": Shown(path, path or away)}
    attested = None if known.sha256 == UNATTESTED else known.sha256
    return {
        **place,
        "bytes": known.size or (here.stat().st_size if here and here.exists() else None),
        "sha256": Shown(attested, attested or "none is published"),
    }


def merged(found: Sequence[Layer]) -> Iterator[tuple[str, str, Shown]]:
    """Yields rows for people: layers that differ in their indices only are one, `layer_0..11/attention`."""
    groups: dict[tuple[str, str], list[Layer]] = {}
    for each in found:
        groups.setdefault((INDEX.sub("*", each.layer), each.arrays), []).append(each)
    for (_, arrays), members in groups.items():
        together = _ranges(members) if members[1:] else None
        for name, same in [(together, members)] if together else [(each.layer, [each]) for each in members]:
            numbers = f"{same[0].numbers:,}"
            total = sum(each.numbers for each in same)
            yield name, arrays, Shown(total, f"{len(same)} x {numbers}" if same[1:] else numbers)


def _ranges(layers: Sequence[Layer]) -> str | None:
    """Returns the name of layers whose indices fill ranges, such as `layer_0..11`; None for others."""
    indices = [
        sorted({*map(int, each)})
        for each in zip(*(INDEX.findall(each.layer) for each in layers), strict=True)
    ]
    full = all(each == [*range(each[0], each[-1] + 1)] for each in indices)
    if not full or math.prod(map(len, indices)) != len(layers):
        return None
    texts = iter(f"{each[0]}..{each[-1]}" if each[1:] else str(each[0]) for each in indices)
    return INDEX.sub(lambda match: next(texts), layers[0].layer)
