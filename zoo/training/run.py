"""A training run in a directory of its own: from a name to weights, resumable at any moment."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from jax.sharding import Mesh

from converters.io import atomic_write
from zoo._adapters.low_rank import merged
from zoo._errors import TrainingError
from zoo._loading.heads import head_layers
from zoo._loading.load import load, load_located
from zoo._loading.resolve import resolve
from zoo._model import Model
from zoo._processes import all_or_none, from_primary, is_primary
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.recipe_fields import with_fields
from zoo._registry.recipes import RECIPES, Recipe, find_recipe
from zoo._saving.save import save
from zoo._saving.shards import are_spread
from zoo._variables.sharding import Placement
from zoo._variables.tree import flatten
from zoo.training.calibration import check_temperature, with_temperature
from zoo.training.checkpointing import Checkpoints
from zoo.training.curves import draw_curves
from zoo.training.data import Dataset, Examples, load_split
from zoo.training.datasets import DATASETS
from zoo.training.drawing import attempt, can_draw
from zoo.training.evaluate import evaluate, named
from zoo.training.fitting import check
from zoo.training.loop import compile_epoch
from zoo.training.metrics import Row, append_rows, forget_after, window_rows
from zoo.training.optimizer import optimizer, trained
from zoo.training.partitioning import SINGLE_DEVICE, Partitioner, make_partitioner
from zoo.training.progress import Follow, Watcher, shown
from zoo.training.remarks import say
from zoo.training.run_directory import (
    CHECKPOINTS,
    CURVES,
    METRICS,
    check_directory,
    claim,
    last_extension,
    recipe_to_resume,
)
from zoo.training.state import TrainState
from zoo.training.tasks import TASKS, VALIDATION, Task, Variables

Report: TypeAlias = Callable[[int, Mapping[str, float]], None]


def train(
    name: str,
    directory: str | os.PathLike[str],
    *,
    recipe: Recipe | Mapping[str, Any] | None = None,
    data: str | os.PathLike[str] | None = None,
    dataset: Dataset | None = None,
    mesh: Mesh | str | None = None,
    sharding: Placement | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = lambda epoch, measures: None,
    progress: Follow | None = None,
) -> Model:
    """Trains a model of the manifest and measures the result on the test set.

    The directory gets run.json (model, recipe and data), metrics.jsonl, checkpoints, and in the end the files
    of `zoo.save`, with a text model's tokenizer, then curves.png where matplotlib is installed. A run
    that was killed and is resumed ends with the same arrays as an uninterrupted one; Ctrl-C and SIGTERM end
    it within a moment. What it had done of an epoch is then done again.

    Args:
        name: A name of the manifest.
        directory: Directory of the run; created if missing.
        recipe: Training recipe, or the fields in which it differs from that of the published weights, or
            from that of the run that is resumed.
        data: Directory of the data set's files; by default they are downloaded.
        dataset: Data set; by default the recipe's.
        mesh: Mesh whose axis `data` divides each batch, such as "data=4,model=2" of all devices; by default
            one device trains.
        sharding: Sharding of the variables on the mesh, as for `load`; by default replicated, or with an axis
            `model` divided by the table of a Transformer's family, or else as by `fsdp`.
        resume: If true, continues the run in the directory, on any devices. The recipe may have another
            number of epochs, patience and keep than before: a finished run goes on from a checkpoint that
            `keep` has kept, or without one begins again. The learning rate is that of the longer run at each
            update: with the decay "constant" the result is that of a run of so many epochs from the start,
            with others it is only where the run begins again.
        overwrite: If true, replaces a run in the directory; other files are refused.
        report: Called with each finished epoch and its measures; at first with the epoch to continue from.
        progress: Called about once a second with the `Progress` within an epoch; by default a bar shows it,
            or where there is no terminal a line now and then.

    Raises:
        TrainingError: the directory holds another run, or the loss is not finite.
        DataError: the data cannot be read or downloaded, or are not the expected ones.
    """
    directory, data = Path(directory), None if data is None else Path(data)
    located = resolve(name)
    entry = located.entry
    recipe = with_fields(_default(name, recipe, directory, resume=resume), recipe)
    if recipe.lora_rank:
        raise TrainingError(f"lora_rank={recipe.lora_rank} is for finetuning; {name!r} has nothing to adapt.")
    dataset = dataset or DATASETS[recipe.dataset]
    with all_or_none():
        if is_primary():
            check_directory(directory, resume=resume, overwrite=overwrite)
        partitioner = make_partitioner(mesh, sharding, recipe, entry.family)
        splits = {split: load_split(dataset, split, data) for split in ("train", "test")}
        training, held_back = _split(splits["train"], recipe)
    # Made before training, as everything that its end needs.
    companions = {file: content() for file, content in dataset.beside.items()}
    drawing = is_primary() and can_draw(CURVES)
    data_files = {file.name: file.sha256 for split in dataset.splits.values() for file in split}
    with claim(directory, entry, recipe, data_files, resume=resume, overwrite=overwrite) as complete:
        if complete:
            return complete_run(directory, partitioner)
        model = load_located(located, seed=recipe.seed, sharding=partitioner.sharding)
        check_temperature(recipe, entry, model.variables)
        variables = run(model, recipe, directory, training, held_back, report, partitioner, progress)
        variables = with_temperature(variables, recipe, entry)
        measured = evaluate(
            model.replace(variables=variables), splits["test"], recipe, partitioner=partitioner
        )
        metrics = named(measured, dataset)
        append_rows(directory / METRICS, [metrics])
        entry = replace(_trained_entry(entry, recipe), metrics=FrozenMapping(metrics))
        trained = Model(model.module, variables, entry)
        write_result(trained, directory, companions)
        if drawing:
            attempt(partial(draw_curves, directory))
    return trained


def _default(name: str, given: Recipe | Mapping[str, Any] | None, directory: Path, *, resume: bool) -> Recipe:
    """Returns the recipe to take where a field is not given: that of the resumed run, or of the name."""
    if isinstance(given, Recipe):
        return given
    recipe = find_recipe(name)
    return (recipe_to_resume(directory, recipe) if resume else None) or recipe


def complete_run(directory: Path, partitioner: Partitioner) -> Model:
    """Returns the model of a run that has nothing left to train, and says so."""
    say(f"the run in {str(directory)!r} is complete; more epochs would go on with it.")
    return load(str(directory.resolve()), pretrained=True, sharding=partitioner.sharding)


def _trained_entry(entry: Entry, recipe: Recipe) -> Entry:
    """Returns an entry for weights of one's own: whose they are follows from the recipe alone."""
    known = RECIPES.get(entry.name)
    if recipe == known:
        return replace(entry, weights=None)
    settings = "".join(
        f" --set {name}={value}"
        for name, value in vars(recipe).items()
        if known and value != getattr(known, name)
    )
    return replace(entry, weights=None, layout=None, license=None, source=f"zoo train {entry.name}{settings}")


def write_result(model: Model, directory: Path, companions: Mapping[str, bytes]) -> None:
    """Writes a run's model, from one process, and its companion files.

    Args:
        model: The trained model.
        directory: The run's directory.
        companions: Contents of other files, by name, such as the tokenizer's.
    """
    spread = are_spread(flatten(model.variables))
    with all_or_none():
        if is_primary():
            for file, content in companions.items():
                with atomic_write(directory / file, overwrite=True) as out:
                    out.write(content)
        if is_primary() or spread:
            save(model, directory, overwrite=True)  # a resumed run has perhaps written it


def run(
    model: Model,
    recipe: Recipe,
    directory: Path,
    training: Examples,
    held_back: Examples,
    report: Report,
    partitioner: Partitioner = SINGLE_DEVICE,
    progress: Follow | None = None,
) -> Variables:
    """Trains; returns the variables after the last epoch, or after the best one if examples are held back."""
    count, task = len(training.labels), TASKS[recipe.task]
    steps = count // recipe.batch_size
    check(recipe, count)
    state = _initial(model, recipe, steps * recipe.epochs, partitioner)
    score = task.score if len(held_back.labels) else None
    with (
        Checkpoints(directory / CHECKPOINTS, keep=recipe.keep, score=score) as checkpoints,
        shown(model.entry.name if model.entry else "training", progress) as follow,
    ):
        done = checkpoints.latest
        state = checkpoints.restore(done, state) if done else state
        with all_or_none():
            if is_primary() and done < recipe.epochs:
                checkpoints.check_room(state)
        known = forget_after(directory / METRICS, done)
        since = from_primary(last_extension(directory) if is_primary() else 0)
        report(done, {})
        train_epoch = compile_epoch(model, recipe, count, partitioner, partitioner.out_shardings(state))
        on_device = partitioner.examples(training)
        watcher = Watcher(recipe, steps, follow)
        with watcher.note_stop():
            for epoch in range(done + 1, recipe.epochs + 1):
                if score and recipe.patience and _stale(known, task, since) >= recipe.patience:
                    say(
                        f"stopped early: no better {task.best} for {recipe.patience} epochs, nor an equal "
                        f"one with a lower loss (patience=0 trains all {recipe.epochs})."
                    )
                    break
                start = time.monotonic()
                watcher.begin(epoch)
                state, measures = train_epoch(state, on_device, watcher)
                rows = window_rows(measures, epoch)
                seconds = round(time.monotonic() - start, 3)
                validation = _validation(model, state, held_back, recipe, partitioner) if score else {}
                ending = {"epoch": epoch, "step": epoch * steps, **validation, "seconds": seconds}
                # The rows before the checkpoint: who finds the checkpoint finds them too.
                append_rows(directory / METRICS, [*rows, ending])
                known += [*rows, ending]
                checkpoints.save(epoch, state, validation)
                ended = {name: rows[-1][name] for name in measures} | validation
                watcher.end(ended)
                report(epoch, ended)
        return (checkpoints.restore(checkpoints.best, state) if score else state).result


def _initial(model: Model, recipe: Recipe, updates: int, partitioner: Partitioner) -> TrainState:
    """Returns the state before the first update."""
    head = head_layers(model.entry)
    state = TrainState.create(
        model.variables,
        optimizer(recipe, updates, head),
        average=recipe.ema_decay > 0,
        seed=recipe.seed,
        trained=trained(model.variables["params"], recipe, head),
    )
    return partitioner.state(state)


def _split(examples: Examples, recipe: Recipe) -> tuple[Examples, Examples]:
    """Splits the examples into those to train on and those to hold back."""
    count = len(examples.labels) - recipe.validation
    if count < recipe.batch_size:
        raise TrainingError(
            f"{len(examples.labels):,} examples less {recipe.validation:,} held back are "
            f"no batch of {recipe.batch_size:,}; choose a smaller batch_size."
        )
    return Examples(*(array[:count] for array in examples)), Examples(*(array[count:] for array in examples))


def _validation(
    model: Model, state: TrainState, examples: Examples, recipe: Recipe, partitioner: Partitioner
) -> dict[str, float]:
    result = merged(state.result, recipe.lora_scale)
    measured = evaluate(model.replace(variables=result), examples, recipe, partitioner=partitioner)
    return {f"{VALIDATION}{name}": value for name, value in measured.items()}


def _stale(rows: Sequence[Row], task: Task, since: int) -> int:
    """Counts the epochs since the first of the best ones, or since an epoch if that is later.

    Who extends a run that has stopped early wants it to go on, with its patience anew.
    """
    scores = [task.score(row) for row in rows if f"{VALIDATION}{task.best}" in row]
    return len(scores) - max(scores.index(max(scores)) + 1, since) if scores else 0
