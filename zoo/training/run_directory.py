"""The directory of a run: a record of its settings, and a lock for one writer at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from converters.io import atomic_write
from zoo._errors import TrainingError
from zoo._processes import all_or_none, is_primary
from zoo._registry.entry import Entry
from zoo._registry.recipes import DEFAULTS, Recipe, renamed
from zoo.training.processes import report_lost_process

RUN, METRICS, CHECKPOINTS = "run.json", "metrics.jsonl", "checkpoints"
CURVES, CONFUSION = "curves.png", "confusion.png"


@contextmanager
def claim(
    directory: Path, entry: Entry, recipe: Recipe, data: Mapping[str, str], *, resume: bool
) -> Iterator[None]:
    """Reserves a directory for this run until the block ends.

    Args:
        directory: Directory of the run; created if missing.
        entry: The model's entry.
        recipe: The training recipe.
        data: The SHA-256 of each file of the data, or of many files together.
        resume: If true, continues the run in the directory.

    Raises:
        TrainingError: the directory holds something else, or another process is using it.
    """
    wanted = _description(entry, recipe, data)
    with ExitStack() as held:
        with all_or_none():
            if is_primary():
                held.enter_context(_claimed(directory, wanted, resume))
        with report_lost_process():
            yield


@contextmanager
def _claimed(directory: Path, wanted: Mapping[str, Any], resume: bool) -> Iterator[None]:
    record = directory / RUN
    if not record.exists():
        _check_empty(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with atomic_write(record) as file:
            file.write(f"{json.dumps(wanted, indent=2)}\n".encode())
    elif not resume:
        raise TrainingError(f"{str(directory)!r} holds a run; choose another directory, or --resume it.")
    with record.open() as file:
        # Ends with the process, however that ends.
        if not lock_descriptor(file.fileno(), blocking=False):
            raise TrainingError(f"another process is training in {str(directory)!r}; wait for it.")
        _check_same(record, json.load(file), wanted)
        yield


def _description(entry: Entry, recipe: Recipe, data: Mapping[str, str]) -> dict[str, Any]:
    """Returns the settings that determine a run's result, for JSON."""
    described: dict[str, Any] = json.loads(
        json.dumps(
            {
                "model": {"name": entry.name, "family": entry.family, **entry.config},
                "recipe": asdict(recipe),
                "data": data,
            }
        )
    )
    return described


def _check_empty(directory: Path) -> None:
    # A process that was killed before it had a record leaves no more than a hidden temporary file.
    found = [path.name for path in directory.glob("*") if not path.name.startswith(".")]
    if found:
        raise TrainingError(f"{str(directory)!r} holds {found[0]!r} but no run; choose another directory.")


def _check_same(record: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    # A record of an earlier version lacks the newer fields, which change nothing by default.
    found = {**found, "recipe": DEFAULTS | renamed(found.get("recipe", {}))}
    differences = [
        f"\n  {part}.{name}: {found.get(part, {}).get(name)!r}, now {values.get(name)!r}"
        for part, values in wanted.items()
        for name in {**found.get(part, {}), **values}
        if found.get(part, {}).get(name) != values.get(name)
    ]
    if differences:
        raise TrainingError(
            f"the run in {str(record.parent)!r} was started with other settings; "
            f"use them again, or another directory:{''.join(differences)}"
        )
