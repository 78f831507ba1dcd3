"""Transfer: resnet20_cifar10 to Fashion-MNIST with a thousand training images, against learning from scratch.

    python benchmarks/transfer.py [--data DIRECTORY] [--epochs 20] [--seeds 3]

DIRECTORY has Fashion-MNIST's four idx files, by default those of Debian's package dataset-fashion-mnist. Each
way trains on the same images, chooses its best epoch on a thousand others, and is measured on the whole test
set.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import _harness
import numpy as np
from PIL import Image

import zoo
from zoo._model import Model
from zoo._preprocessing import photos
from zoo.training import DATASETS, Examples, IdxFile, Recipe, evaluate, finetuning_recipe, load_split
from zoo.training.run import run

NAME, COUNT = "resnet20_cifar10", 1000  # training images, and as many to choose the epoch
FILES = {
    "train": (
        IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
    ),
    "test": (
        IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}
WAYS = {
    "new head, backbone frozen": {"backbone_rate": 0.0, "learning_rate": 1e-2},
    "two learning rates": {"backbone_rate": 0.1, "learning_rate": 1e-2},
    "one learning rate": {"backbone_rate": 1.0, "learning_rate": 3e-3},
    "from scratch": {"backbone_rate": 1.0, "learning_rate": 3e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    training, held_back, test = splits(options.data)
    rows = []
    for title, changes in WAYS.items():
        recipe = replace(finetuning_recipe(NAME), epochs=options.epochs, **changes)
        found = [
            accuracy(replace(recipe, seed=seed), title != "from scratch", training, held_back, test)
            for seed in range(options.seeds)
        ]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        rows.append((title, f"{100 * statistics.mean(found):.2f}", f"{100 * spread:.2f}"))
    print(_harness.table((f"{COUNT} images, {options.seeds} seeds", "accuracy %", "deviation"), rows))
    print(_harness.machine("jax", "flax"))


def accuracy(
    recipe: Recipe, pretrained: bool, training: Examples, held_back: Examples, test: Examples
) -> float:
    model = zoo.load(NAME, pretrained=pretrained, num_classes=10, seed=recipe.seed)
    if pretrained:  # as many classes, but other ones
        fresh = zoo.load(NAME, seed=recipe.seed).variables["params"]["fc"]
        params = {**model.variables["params"], "fc": fresh}
        model = Model(model.module, {**model.variables, "params": params}, model.entry)
    with tempfile.TemporaryDirectory() as directory:
        variables = run(model, recipe, Path(directory), training, held_back, lambda epoch, measures: None)
    return evaluate(model.replace(variables=variables), test, recipe)["accuracy"]


def splits(directory: Path) -> tuple[Examples, Examples, Examples]:
    """Images as the model takes them: (count, 32, 32, 3) uint8."""
    fashion = replace(DATASETS["mnist"], name="fashion_mnist", splits=FILES, mirrors=())
    train, test = (load_split(fashion, split, directory) for split in ("train", "test"))
    first, second = (Examples(*(part[at : at + COUNT] for part in train)) for at in (0, COUNT))
    return prepared(first), prepared(second), prepared(test)


def prepared(examples: Examples) -> Examples:
    how = zoo.info(NAME).preprocess
    grey = (Image.fromarray(np.asarray(image)[..., 0]) for image in examples.inputs)
    return Examples(np.stack([photos.pixels(image, how) for image in grey]), examples.labels)


if __name__ == "__main__":
    main()
