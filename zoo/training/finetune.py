"""Finetunes pretrained models to classify the user's own data."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from zoo._adapters import low_rank
from zoo._errors import TrainingError
from zoo._inference.purpose import labels_pixels
from zoo._loading.build import build
from zoo._loading.heads import head_layers
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._loading.text_settings import text_files
from zoo._model import Model, Origin
from zoo._preprocessing import text
from zoo._preprocessing.preprocess import preprocess_located
from zoo._processes import all_or_none, is_primary
from zoo._registry import families
from zoo._registry.entry import Digits, Entry, FrozenMapping
from zoo._registry.recipe_fields import with_fields
from zoo._registry.recipes import FINETUNING, Recipe, renamed
from zoo._variables import init
from zoo._variables.quantized import is_quantized
from zoo._variables.sharding import Placement
from zoo._variables.tree import flatten, unflatten
from zoo.training.confusion_matrix import draw_confusion
from zoo.training.curves import draw_curves
from zoo.training.drawing import attempt, can_draw
from zoo.training.evaluate import confusion, evaluate
from zoo.training.example_files import SPLITS
from zoo.training.fitting import fitted
from zoo.training.labelled_data import Labelled, describe, pictures, texts
from zoo.training.metrics import append_rows
from zoo.training.partitioning import Partitioner, make_partitioner
from zoo.training.progress import Follow
from zoo.training.remarks import say
from zoo.training.run import Report, complete_run, run, write_result
from zoo.training.run_directory import (
    CONFUSION,
    CURVES,
    METRICS,
    check_directory,
    claim,
    recipe_to_resume,
)
from zoo.training.tasks import VALIDATION

ADAPTER = "adapter"  # directory of a run with PEFT's files of what LoRA trained


def finetuning_recipe(name: Name, *, examples: int | None = None) -> Recipe:
    """Returns the default recipe to finetune a model.

    Args:
        name: A name that `load` takes.
        examples: Number of examples to train on, which batches, epochs and warm-up are fitted to, as by
            `finetune` without a recipe; by default thousands.
    """
    recipe = _recipe_for(resolve(name).entry)
    return recipe if examples is None else fitted(recipe, examples)


def _recipe_for(entry: Entry) -> Recipe:
    if entry.takes_tokens:
        return FINETUNING["texts"]
    return FINETUNING["digits" if isinstance(entry.preprocess, Digits) else "pictures"]


def finetune(
    name: Name,
    directory: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str],
    recipe: Recipe | Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    mesh: Mesh | str | None = None,
    sharding: Placement | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = lambda epoch, measures: None,
    progress: Follow | None = None,
    examined: Callable[[Labelled], None] | None = None,
) -> Model:
    """Puts a new head on a pretrained model and trains it; keeps the best epoch on the held-out examples.

    The directory gets run.json, metrics.jsonl, checkpoints, and in the end what `zoo.save` writes, with the
    tokenizer of a model of texts, then curves.png and confusion.png where matplotlib is installed. A run that
    was killed and is resumed ends with the same arrays as one that was not. With the recipe's `lora_rank` the
    model has what was trained in its weights, and `adapter/` has that alone, as PEFT loads it.

    Args:
        name: A name that `load` takes, of a classifier of photos or a text encoder.
        directory: Directory of the run; created if missing.
        data: A folder with pictures in `train/CLASS/` and `val/CLASS/`, or with the tables `train` and `val`
            (.csv or .jsonl) of fields `text` and `label`. Of pictures in `CLASS/` alone, or of one table, the
            recipe's `validation_share` is held out: the same examples on every machine.
        recipe: Training recipe, or fields of one such as {"epochs": 5}. What is not given is as in
            `finetuning_recipe(name)`, fitted to the number of examples; or as in the run that is resumed.
        num_classes: Expected number of classes; by default the number found in the data.
        mesh: As for `train`.
        sharding: As for `train`.
        resume: As for `train`.
        overwrite: As for `train`.
        report: Called with each finished epoch and its measures; at first with the epoch to continue from.
        progress: As for `train`.
        examined: Called with the data before training begins; by default, they are described on the screen.

    Raises:
        DataError: the data are invalid; all problems are listed.
        TrainingError: the model has no head to replace, the directory holds another run, or the loss is
            not finite.
    """
    directory, data = Path(directory), Path(data)
    located = resolve(name)
    entry = located.entry
    if not head_layers(entry):
        raise TrainingError(
            f"{entry.name!r} has no head that could be replaced; {families.having('head')} have one."
        )
    if labels_pixels(entry):
        raise TrainingError(
            f"{entry.name!r} labels pixels, and finetuning learns the classes of whole pictures; "
            "train zoo.load's model in a loop of your own."
        )
    with all_or_none():
        if is_primary():
            check_directory(directory, resume=resume, overwrite=overwrite)
            _check_apart(directory, data, entry)
        before = recipe_to_resume(directory, _recipe_for(entry)) if resume else None
        recipe, labelled, partitioner, fit = _prepared(
            located,
            data,
            recipe,
            before,
            lambda recipe: make_partitioner(mesh, sharding, recipe, entry.family),
        )
        _check(labelled, data, recipe, num_classes)
        if recipe.lora_rank and jax.process_count() > 1:
            raise TrainingError("LoRA is trained by one process; leave the others, or lora_rank=, out.")
        # Read before training, as everything that its end needs.
        companions = text_files(located) if entry.takes_tokens else {}
    (examined or describe)(labelled)
    if fit:
        say(f"fitted to so many examples: {fit}")
    drawing = is_primary() and can_draw(CURVES, CONFUSION)
    with claim(
        directory,
        entry,
        recipe,
        labelled.digests,
        counts=labelled.counts,
        resume=resume,
        overwrite=overwrite,
    ) as complete:
        if complete:
            return complete_run(directory, partitioner)
        model = _with_head(located, labelled, recipe, partitioner.sharding, data)
        head = head_layers(model.entry)
        if recipe.lora_rank:
            model = low_rank.with_factors(
                model, recipe.lora_rank, head=head, seed=recipe.seed, layout=entry.layout
            )
        variables = run(
            model, recipe, directory, labelled.training, labelled.held_back, report, partitioner, progress
        )
        if recipe.lora_rank and is_primary():
            low_rank.write(
                model.replace(variables=variables),
                directory / ADAPTER,
                alpha=recipe.lora_scale * recipe.lora_rank,
                head=head,
                base=located.public_name,
                layout=entry.layout,
                overwrite=True,
            )
        variables = low_rank.merged(variables, recipe.lora_scale)
        made = _measured(model.replace(variables=variables), labelled, recipe, partitioner)
        append_rows(directory / METRICS, [dict(made.entry.metrics) if made.entry else {}])
        write_result(made, directory, companions)
        taken = confusion(made, labelled.held_back, recipe, partitioner=partitioner)
        if drawing:
            attempt(
                partial(draw_curves, directory),
                partial(draw_confusion, taken, labelled.classes, directory),
            )
    return made


class _Prepared(NamedTuple):
    """A run's recipe, data and devices, and what of the recipe was fitted to the data, for a person."""

    recipe: Recipe
    labelled: Labelled
    partitioner: Partitioner
    fit: str


def _prepared(
    located: Located,
    data: Path,
    given: Recipe | Mapping[str, Any] | None,
    before: Recipe | None,
    partitioner_for: Callable[[Recipe], Partitioner],
) -> _Prepared:
    """Reads the data, and fits to them what of the recipe is not given.

    Args:
        located: The pretrained model.
        data: The user's data.
        given: The recipe, or fields of one.
        before: The recipe of the run that is resumed, which stays.
        partitioner_for: Returns the devices for a recipe.
    """
    plain = with_fields(before or _recipe_for(located.entry), given)
    partitioner = partitioner_for(plain)
    labelled = read(located, data, plain)
    made, parts = plain, partitioner.shares * plain.accumulate_steps
    if before is None and not isinstance(given, Recipe):
        count = len(labelled.training.labels)
        made = fitted(plain, count, given=renamed(given or {}), multiple=parts)
    changes = [f"{name}={value}" for name, value in vars(made).items() if value != getattr(plain, name)]
    # Data with a val of their own are not split, whatever the recipe would do with others.
    made = replace(made, validation_share=labelled.share)
    return _Prepared(made, labelled, partitioner, ", ".join(changes))


def read(located: Located, data: Path, recipe: Recipe) -> Labelled:
    """Reads the user's data as a model takes them.

    Raises:
        DataError: the data are invalid; all problems are listed.
        ZooError: the model does not say how pictures or texts become its input.
    """
    entry, share, seed = located.entry, recipe.validation_share, recipe.seed
    if not entry.takes_tokens:
        return pictures(data, preprocess_located(located).entry, share=share, seed=seed)
    module, _ = build(entry)
    return texts(data, text.tokenizer_of(located), text.limit(located, module), share=share, seed=seed)


def _check_apart(directory: Path, data: Path, entry: Entry) -> None:
    """Refuses a run in a folder whose folders are classes: it would become one."""
    splits = [data / split for split in SPLITS if (data / split).is_dir()]
    for folder in splits or [data]:
        if not entry.takes_tokens and folder.resolve() in directory.resolve().parents:
            raise TrainingError(
                f"{str(directory)!r} is in {str(folder)!r}, whose folders are the classes, and would be one "
                "of them; choose a directory outside of the data."
            )


def _check(labelled: Labelled, data: Path, recipe: Recipe, num_classes: int | None) -> None:
    """Refuses data of other classes than expected, or too few for a batch."""
    found, count = len(labelled.classes), len(labelled.training.labels)
    if num_classes not in (None, found):
        raise TrainingError(f"{str(data)!r} has {found} classes, not {num_classes}.")
    if count < recipe.batch_size:
        raise TrainingError(
            f"{count} examples are no batch of {recipe.batch_size}; choose a smaller batch_size."
        )


def _measured(model: Model, labelled: Labelled, recipe: Recipe, partitioner: Partitioner) -> Model:
    """Returns the model with an entry that has its metrics on the held-out examples."""
    measured = evaluate(model, labelled.held_back, recipe, partitioner=partitioner)
    metrics = FrozenMapping({f"{VALIDATION}{name}": value for name, value in measured.items()})
    assert model.entry is not None  # it was loaded
    return replace(model, entry=replace(model.entry, metrics=metrics))


def _with_head(
    located: Located, labelled: Labelled, recipe: Recipe, sharding: Placement | None, data: Path
) -> Model:
    """Returns the pretrained model with a new head, and an entry of its own."""
    entry = located.entry
    config = dict(families.family(entry).classifier, num_classes=len(labelled.classes))
    model = load_located(
        located, pretrained=True, seed=recipe.seed, sharding=sharding, config=config, aloud=False
    )
    assert model.entry is not None  # it was loaded
    variables = flatten(model.variables)
    if any(map(is_quantized, variables.values())):
        raise TrainingError(
            f"{entry.name!r} has weights made small by zoo.quantize, which do not learn; finetune the model "
            "that they were made of."
        )
    if labelled.classes != entry.class_names:
        # The pretrained head has as many classes, but other ones.
        head = families.family(entry).head
        kept = {path for path in variables if path.split("/")[1] not in head}
        variables |= init.initialize(model.module, model.entry.inputs, recipe.seed, None, sharding, kept)
    plain = re.sub(r"[^a-z0-9._-]+", "-", Path(entry.name).name.lower())
    record = replace(
        model.entry,
        name=f"{plain}-finetuned",
        weights=None,
        layout=None,
        metrics=FrozenMapping(),
        source=f"zoo finetune {located.public_name} --data {data.name}",
        base_model=located.public_name,
        classes=None,
        labels=labelled.classes,
        scores=None,
    )
    # Its tokenizer is that of the pretrained model.
    origin = Origin(pretrained=True, located=located)
    return Model(model.module, unflatten(variables), record, model.notes, origin)
