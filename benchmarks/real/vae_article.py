"""Losses of the VAE in its article's configuration beside those that the article prints.

`python benchmarks/real/vae_article.py MNIST`, with the directory of MNIST's files; needs two minutes.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import zoo
from zoo.training import Recipe, train
from zoo.training.metrics import read_rows

# https://afmck.in/posts/2023-06-04-flax-post/: AdamW with Optax's defaults, and these.
RECIPE = Recipe(task="vae", dataset="mnist", epochs=10, batch_size=16, learning_rate=1e-4)
# What it prints after 100 updates, means of them: loss, half the squared error, KL divergence.
FIRST = {
    100: (49.44, 49.06, 0.759),
    200: (37.18, 36.83, 0.707),
    300: (33.82, 33.49, 0.658),
    400: (31.90, 31.57, 0.668),
    500: (31.10, 30.76, 0.665),
    600: (29.77, 29.42, 0.695),
}
# The same after 3,100 to 3,700 updates of the tenth epoch, averaged.
LAST = (14.144, 10.920, 6.448)
MEASURES = ("loss", "reconstruction", "kl")


def main(data: str) -> None:
    article = zoo.load("vae_mnist", output_activation="relu")
    with TemporaryDirectory() as directory:
        zoo.save(article, f"{directory}/article")
        run = Path(directory, "run")
        train(f"{directory}/article", run, recipe=RECIPE, data=data)
        rows = [row for row in read_rows(run / "metrics.jsonl") if "reconstruction" in row]
    print(f"{'epoch and updates':20}{'article: loss, error, KL':>28}{'here':>28}")
    for end, published in FIRST.items():
        _print(f"1: {end - 99} to {end}", published, _mean(rows, 1, end - 100, end))
    _print("10: 3001 to 3700", LAST, _mean(rows, 10, 3000, 3700))


def _mean(rows: Sequence[Mapping[str, float]], epoch: int, start: int, end: int) -> list[float]:
    """Averages the windows that hold an epoch's updates from `start` to `end`; they begin and end between."""
    steps = 60_000 // RECIPE.batch_size
    ends = [(row, row["step"] - (epoch - 1) * steps) for row in rows if row.get("epoch") == epoch]
    chosen = [row for row, step in ends if start < step <= end + 50]
    return [float(np.mean([row[name] for row in chosen])) for name in MEASURES]


def _print(label: str, *measured: Sequence[float]) -> None:
    texts = (" ".join(f"{value:8.3f}" for value in values) for values in measured)
    print(f"{label:20}{''.join(f'{text:>28}' for text in texts)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
