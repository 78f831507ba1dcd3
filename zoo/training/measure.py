"""Measures a model by its name: on the test set of its recipe, or on the user's own examples."""

import os
from pathlib import Path

import numpy as np

from zoo._errors import DataError, TrainingError
from zoo._inference.purpose import classifies_texts
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._registry.entry import Entry
from zoo._registry.recipes import FINETUNING, RECIPES, Recipe, find_recipe, listed_recipes
from zoo.training.data import Dataset, Examples, load_split
from zoo.training.datasets import DATASETS
from zoo.training.evaluate import evaluate, named
from zoo.training.finetune import finetuning_recipe, read
from zoo.training.run_directory import recorded_recipe
from zoo.training.tasks import VALIDATION

OWN_DATA = {recipe.dataset for recipe in FINETUNING.values()}


def evaluate_pretrained(
    name: Name, *, data: str | os.PathLike[str] | None = None, dataset: Dataset | None = None
) -> dict[str, float]:
    """Measures weights on the test set of their recipe, or on the user's own examples.

    Args:
        name: A name of the manifest, or a directory that `zoo.save`, `train` or `finetune` wrote.
        data: Directory of the data set's files; by default they are downloaded. For a finetuned model, data
            that `finetune` takes, of the same classes: it is measured on what `finetune` would hold out. For
            another classifier with names of its classes, such as a converted one, the same data: it is
            measured on `val` where there is one, and on all examples otherwise.
        dataset: Data set; by default the recipe's.

    Raises:
        TrainingError: no recipe has the name, which says what to measure it on, and it has no such data.
        DataError: the data cannot be read or downloaded, or are not the expected ones.
    """
    located = resolve(name)
    recipe = recipe_of(located, own_data=data is not None and dataset is None)
    if dataset is None and recipe.dataset in OWN_DATA:
        return _evaluate_on_own(located, recipe, data)
    dataset = dataset or DATASETS[recipe.dataset]
    examples = load_split(dataset, "test", data)
    return named(evaluate(load_located(located, pretrained=True), examples, recipe), dataset)


def recipe_of(located: Located, *, own_data: bool = False) -> Recipe:
    """Returns the recipe that a run's directory records, or the one of the entry's name or of own data.

    Raises:
        TrainingError: there is none.
    """
    entry = located.entry
    recorded = recorded_recipe(located.directory) if located.directory else None
    if recorded:
        return recorded
    if _is_finetuned(located) or (own_data and _has_own_classes(entry)):
        return finetuning_recipe(located.directory or entry.name)
    if entry.name not in RECIPES:
        if own_data and not entry.class_names:
            raise TrainingError(
                f"{entry.name!r} has no names of its classes, by which your data could be measured; "
                "zoo.save(..., labels=...) and zoo convert --labels keep them."
            )
        raise TrainingError(
            f"no data set is known to measure {entry.name!r} on; there is one for {listed_recipes()}, and "
            "classifiers with names of their classes are measured on your own data: data=."
        )
    return find_recipe(entry.name)


def _is_finetuned(located: Located) -> bool:
    """Returns whether a run made the model, also where it was copied or downloaded without its run."""
    if located.directory and recorded_recipe(located.directory):
        return True
    entry = located.entry  # only classes of one's own make a model a finetuned one
    return entry.name not in RECIPES and (entry.source or "").startswith("zoo finetune ")


def _has_own_classes(entry: Entry) -> bool:
    """Returns whether the model tells classes apart, one of which is right, that are no recipe's."""
    classifies = classifies_texts(entry) if entry.takes_tokens else entry.preprocess is not None
    one_is_right = len(entry.class_names) > 1 and entry.scores in (None, "softmax")
    return classifies and one_is_right and (entry.name not in RECIPES or bool(entry.labels))


def _evaluate_on_own(
    located: Located, recipe: Recipe, data: str | os.PathLike[str] | None
) -> dict[str, float]:
    entry = located.entry
    if data is None:
        raise DataError(f"{entry.name!r} was finetuned on data of your own; name them with data=.")
    labelled = read(located, Path(data), recipe)
    known = entry.class_names or labelled.classes
    if labelled.classes != tuple(sorted(known)):
        raise DataError(
            f"{str(data)!r} has classes {_listed(labelled.classes)}; {entry.name!r} knows {_listed(known)}."
        )
    finetuned = _is_finetuned(located)
    # What was held out of the data is apart only from what the model was finetuned on.
    parts = (labelled.held_back,) if finetuned or not labelled.share else labelled[:2]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    numbers = np.array([known.index(name) for name in labelled.classes], np.int32)
    examples = Examples(images, numbers[labels])
    measured = evaluate(load_located(located, pretrained=True), examples, recipe)
    prefix = VALIDATION if finetuned else ""
    return {f"{prefix}{measure}": value for measure, value in measured.items()}


def _listed(names: tuple[str, ...], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
