"""Measures a model by its name: on the test set of its recipe, or on the user's own examples."""

import os
from pathlib import Path

from zoo._errors import DataError, TrainingError
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._registry.recipes import FINETUNING, RECIPES, Recipe, find_recipe, listed_recipes
from zoo.training.data import Dataset, load_split
from zoo.training.datasets import DATASETS
from zoo.training.evaluate import evaluate, named
from zoo.training.finetune import finetuning_recipe, read
from zoo.training.run_directory import recorded_recipe

OWN_DATA = {recipe.dataset for recipe in FINETUNING.values()}


def evaluate_pretrained(
    name: Name, *, data: str | os.PathLike[str] | None = None, dataset: Dataset | None = None
) -> dict[str, float]:
    """Measures weights on the test set of their recipe; those of `finetune` on the held-out examples.

    Args:
        name: A name of the manifest, or a directory that `zoo.save`, `train` or `finetune` wrote.
        data: Directory of the data set's files; by default they are downloaded. For a finetuned model, data
            that `finetune` takes, of the same classes: it is measured on what `finetune` would hold out.
        dataset: Data set; by default the recipe's.

    Raises:
        TrainingError: no recipe has the name, which says what to measure it on.
        DataError: the data cannot be read or downloaded, or are not the expected ones.
    """
    located = resolve(name)
    recipe = _recipe_of(located)
    if dataset is None and recipe.dataset in OWN_DATA:
        return _evaluate_on_own(located, recipe, data)
    dataset = dataset or DATASETS[recipe.dataset]
    examples = load_split(dataset, "test", data)
    return named(evaluate(load_located(located, pretrained=True), examples, recipe), dataset)


def _recipe_of(located: Located) -> Recipe:
    """Returns the recipe that a run's directory records, or the one of the entry's name."""
    entry = located.entry
    recorded = recorded_recipe(located.directory) if located.directory else None
    if recorded:
        return recorded
    # Copied or downloaded without its run; only classes of one's own make a model a finetuned one.
    finetuned = entry.name not in RECIPES and (entry.source or "").startswith("zoo finetune ")
    if finetuned:
        return finetuning_recipe(located.directory or entry.name)
    if entry.name not in RECIPES:
        raise TrainingError(
            f"no data set is known to measure {entry.name!r} on; there is one for {listed_recipes()}, and "
            "models that you finetune are measured on your own data."
        )
    return find_recipe(entry.name)


def _evaluate_on_own(
    located: Located, recipe: Recipe, data: str | os.PathLike[str] | None
) -> dict[str, float]:
    entry = located.entry
    if data is None:
        raise DataError(f"{entry.name!r} was finetuned on data of your own; name them with data=.")
    labelled = read(located, Path(data), recipe)
    known = entry.class_names
    if known and labelled.classes != known:
        raise DataError(
            f"{str(data)!r} has classes {_listed(labelled.classes)}; {entry.name!r} knows {_listed(known)}."
        )
    measured = evaluate(load_located(located, pretrained=True), labelled.held_back, recipe)
    return {f"validation_{measure}": value for measure, value in measured.items()}


def _listed(names: tuple[str, ...], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
