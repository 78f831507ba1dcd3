"""The directory of a run: a record of its settings, and a lock for one writer at a time."""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from converters.io import atomic_write
from zoo._errors import TrainingError
from zoo._processes import all_or_none, from_primary, is_primary
from zoo._registry.entry import Entry
from zoo._registry.manifest import CONFIG
from zoo._registry.recipes import DEFAULTS, Recipe, renamed
from zoo.training.processes import report_lost_process

RUN, METRICS, CHECKPOINTS = "run.json", "metrics.jsonl", "checkpoints"
CURVES, CONFUSION = "curves.png", "confusion.png"
REMOVED = ".removed"  # checkpoints that are being removed
CHANGES = "changes"  # of a run's record: what it was resumed with instead
EXTENDING = ("epochs", "patience", "keep")  # fields of a recipe that may differ when a run is resumed
# Names of a run's files: its own, those of `zoo.save`, and those of a tokenizer.
OWN = re.compile(
    r"run\.json|metrics\.jsonl|checkpoints|curves\.png|confusion\.png|README\.md"
    r"|config\.json|(model|golden)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|preprocessor_config\.json"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|generation_config|vocab)\.json"
    r"|vocab\.txt|merges\.txt|sentencepiece\.bpe\.model|sentence_bert_config\.json|modules\.json"
)

_log = logging.getLogger("zoo")


@contextmanager
def claim(
    directory: Path,
    entry: Entry,
    recipe: Recipe,
    data: Mapping[str, str],
    *,
    resume: bool,
    overwrite: bool = False,
) -> Iterator[bool]:
    """Reserves a directory for this run until the block ends; then removes checkpoints that nobody asked for.

    Yields whether the run is complete and there is nothing to train.

    Args:
        directory: Directory of the run; created if missing.
        entry: The model's entry.
        recipe: The training recipe; a run that is resumed may have other numbers of EXTENDING.
        data: The SHA-256 of each file of the data, or of many files together.
        resume: If true, continues the run in the directory.
        overwrite: If true, replaces the run in the directory.

    Raises:
        TrainingError: the directory holds something else, or another process is using it.
    """
    wanted, complete = _description(entry, recipe, data), False
    with ExitStack() as held:
        with all_or_none():
            if is_primary():
                complete = held.enter_context(_claimed(directory, wanted, resume=resume, overwrite=overwrite))
        complete = bool(from_primary(complete))
        with report_lost_process():
            yield complete
        if is_primary() and not recipe.keep:
            _remove_checkpoints(directory)


@contextmanager
def _claimed(directory: Path, wanted: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[bool]:
    if resume and overwrite:
        raise TrainingError("a run is continued or replaced; choose resume=True or overwrite=True.")
    record = directory / RUN
    if new := not record.exists():
        _check_empty(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _write(record, wanted)
    elif not (resume or overwrite):
        raise TrainingError(
            f"{str(directory)!r} holds a run; choose another directory, resume=True to continue it, or "
            "overwrite=True to replace it."
        )
    with ExitStack() as locks:
        found = locks.enter_context(_locked(record))
        if overwrite and not new:
            _remove_run(directory)
            now = wanted
        else:
            now = _continued(directory, found, wanted)
        complete = now is found and _is_finished(directory)
        if now is not found:
            _write(record, now)
            locks.enter_context(_locked(record))  # it is another file now
        yield complete


@contextmanager
def _locked(record: Path) -> Iterator[Mapping[str, Any]]:
    """Yields what the record says; its lock ends with the process, however that ends."""
    with record.open(encoding="utf-8") as file:
        if not lock_descriptor(file.fileno(), blocking=False):
            raise TrainingError(f"another process is training in {str(record.parent)!r}; wait for it.")
        yield json.load(file)


def _write(record: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(record, overwrite=True) as file:
        file.write(f"{json.dumps(content, indent=2)}\n".encode())


def recorded_recipe(directory: Path) -> Recipe | None:
    """Returns the recipe of the run in a directory; None if there is no run.

    Raises:
        TrainingError: the record is of another version, or damaged.
    """
    try:
        return Recipe(**json.loads((directory / RUN).read_text(encoding="utf-8"))["recipe"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{str(directory / RUN)!r} holds no recipe of this version: {error}.") from error


def _is_finished(directory: Path) -> bool:
    """Returns whether a run has its model, and kept no checkpoints."""
    return (directory / CONFIG).exists() and not (directory / CHECKPOINTS).exists()


def _remove_checkpoints(directory: Path) -> None:
    """Removes the checkpoints at once, and then what is on the disk."""
    removed = directory / REMOVED
    if (directory / CHECKPOINTS).exists():
        shutil.rmtree(removed, ignore_errors=True)  # by a process that was killed here
        (directory / CHECKPOINTS).rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _remove_run(directory: Path) -> None:
    """Removes all but the record of a run: a directory in which that is interrupted still holds one.

    Raises:
        TrainingError: the directory holds something else, too.
    """
    found = [path for path in directory.iterdir() if not path.name.startswith(".")]
    others = [path.name for path in found if not OWN.fullmatch(path.name)]
    if others:
        raise TrainingError(
            f"{str(directory)!r} holds {others[0]!r}, which is no part of a run; move it, or "
            "choose another directory."
        )
    _remove_checkpoints(directory)
    for path in found:
        if path.name not in (RUN, CHECKPOINTS):
            path.unlink()


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


def _continued(directory: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the record of a run that goes on: the one found, or one with other numbers of EXTENDING."""
    before = {**found, "recipe": {**DEFAULTS, **renamed(found.get("recipe", {}))}}
    changes = {
        (part, name): (before.get(part, {}).get(name), values.get(name))
        for part, values in wanted.items()
        for name in {**values, **before.get(part, {})}
        if before.get(part, {}).get(name) != values.get(name)
    }
    others = [
        f"\n  {part}.{name}: {was!r}, now {now!r}"
        for (part, name), (was, now) in changes.items()
        if part != "recipe" or name not in EXTENDING
    ]
    if others:
        raise TrainingError(
            f"the run in {str(directory)!r} was started with other settings; "
            f"use them again, or another directory:{''.join(others)}"
        )
    return _extended(directory, found, wanted, changes) if changes else found


def _extended(
    directory: Path,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    changes: Mapping[tuple[str, str], tuple[Any, Any]],
) -> Mapping[str, Any]:
    """Returns the record of a run whose numbers of EXTENDING are changed.

    Raises:
        TrainingError: more epochs are done than are wanted.
    """
    saved = directory / CHECKPOINTS
    done = max((int(path.name) for path in saved.glob("*") if path.name.isdecimal()), default=0)
    epochs = wanted["recipe"]["epochs"]
    ended = found["recipe"]["epochs"] if _is_finished(directory) else done
    if ended > epochs:
        raise TrainingError(
            f"the run in {str(directory)!r} has done {ended} epochs; epochs={epochs} is less."
        )
    if _is_finished(directory) and ("recipe", "epochs") in changes:
        _log.warning(
            "%r kept no checkpoint to go on from (keep=0): all %d epochs are trained again",
            str(directory),
            epochs,
        )
        saved.mkdir()  # so that it is not taken for finished
    step = {"after_epoch": done, **{name: [was, now] for (_, name), (was, now) in changes.items()}}
    return {**wanted, CHANGES: [*found.get(CHANGES, ()), step]}
