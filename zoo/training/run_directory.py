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
from zoo._loading.located import RUN
from zoo._processes import all_or_none, from_primary, is_primary
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.manifest import CONFIG
from zoo._registry.recipes import DEFAULTS, Recipe, renamed
from zoo.training.processes import report_lost_process

METRICS, CHECKPOINTS = "metrics.jsonl", "checkpoints"
CURVES, CONFUSION = "curves.png", "confusion.png"
REMOVED = ".removed"  # checkpoints that are being removed
# Parts of a run's record: what it was resumed with instead, and numbers of examples, to say what differs.
CHANGES, COUNTS = "changes", "examples"
EXTENDING = ("epochs", "patience", "keep")  # fields of a recipe that may differ when a run is resumed
# Names of a run's files: its own, those of `zoo.save`, and those of a tokenizer.
OWN = re.compile(
    r"run\.json|metrics\.jsonl|checkpoints|curves\.png|confusion\.png|README\.md"
    r"|config\.json|(model|golden)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|preprocessor_config\.json"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|generation_config|vocab)\.json"
    r"|chat_template\.jinja|vocab\.txt|merges\.txt|sentencepiece\.bpe\.model|sentence_bert_config\.json|modules\.json"
)

_log = logging.getLogger("zoo")


@contextmanager
def claim(
    directory: Path,
    entry: Entry,
    recipe: Recipe,
    data: Mapping[str, str],
    *,
    counts: Mapping[str, int] = FrozenMapping(),
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
        counts: Numbers of examples, where `data` has many files together.
        resume: If true, continues the run in the directory.
        overwrite: If true, replaces the run in the directory.

    Raises:
        TrainingError: the directory holds something else, or another process is using it.
    """
    wanted, complete = _description(entry, recipe, data, counts), False
    with ExitStack() as held:
        with all_or_none():
            if is_primary():
                complete = held.enter_context(_claimed(directory, wanted, resume=resume, overwrite=overwrite))
        complete = bool(from_primary(complete))
        with report_lost_process():
            yield complete
        if is_primary() and not recipe.keep:
            _remove_checkpoints(directory)


def check_directory(directory: Path, *, resume: bool, overwrite: bool) -> None:
    """Checks that a directory may be that of a run, before anything takes time.

    Raises:
        TrainingError: it holds something else, or a run that is neither continued nor replaced.
    """
    if resume and overwrite:
        raise TrainingError("a run is continued or replaced; choose resume=True or overwrite=True.")
    if not (directory / RUN).exists():
        _check_empty(directory)
    elif not (resume or overwrite):
        raise TrainingError(
            f"{str(directory)!r} holds a run; choose another directory, resume=True to continue it, or "
            "overwrite=True to replace it."
        )


@contextmanager
def _claimed(directory: Path, wanted: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[bool]:
    check_directory(directory, resume=resume, overwrite=overwrite)
    record = directory / RUN
    if new := not record.exists():
        directory.mkdir(parents=True, exist_ok=True)
        _write(record, wanted)
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


def recipe_to_resume(directory: Path, like: Recipe) -> Recipe | None:
    """Returns the recipe of the run in a directory; None if there is no run, or one of another task.

    Raises:
        TrainingError: the record is of another version, or damaged.
    """
    found = recorded_recipe(directory)
    alike = found and (found.task, found.dataset) == (like.task, like.dataset)
    return found if alike else None


def last_extension(directory: Path) -> int:
    """Returns the epoch after which the run was last resumed with other settings; 0 if it never was."""
    changes = json.loads((directory / RUN).read_text(encoding="utf-8")).get(CHANGES, ())
    return int(changes[-1]["after_epoch"]) if changes else 0


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


def _description(
    entry: Entry, recipe: Recipe, data: Mapping[str, str], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Returns the settings that determine a run's result, for JSON."""
    described: dict[str, Any] = json.loads(
        json.dumps(
            {
                "model": {"name": entry.name, "family": entry.family, **entry.config},
                "recipe": asdict(recipe),
                "data": dict(data),
                **({COUNTS: dict(counts)} if counts else {}),
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
        if part != COUNTS
        for name in {**values, **before.get(part, {})}
        if before.get(part, {}).get(name) != values.get(name)
    }
    others = {
        (part, name): "\n  "
        + (
            _in_words(name, was, now, found, wanted)
            if part == "data"
            else f"{part}.{name}: {was!r}, now {now!r}"
        )
        for (part, name), (was, now) in changes.items()
        if part != "recipe" or name not in EXTENDING
    }
    if others:
        what = "data" if {part for part, _ in others} == {"data"} else "settings"
        raise TrainingError(
            f"the run in {str(directory)!r} was started with other {what}; "
            f"use them again, or another directory:{''.join(others.values())}"
        )
    return _extended(directory, found, wanted, changes) if changes else found


def _in_words(
    name: str, was: str | None, now: str | None, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> str:
    """Returns what has changed of a part of the data, whose hashes say nothing to a person."""
    before, count = (record.get(COUNTS, {}).get(name) for record in (found, wanted))
    if was is None or now is None:
        return f"data: {name!r} is {'new' if was is None else 'missing'}"
    if count is None:
        return f"data: {name!r} has other content"
    more = "other content or labels" if before in (None, count) else f"{before:,} examples, now {count:,}"
    return f"data: {name} has {more}"


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
