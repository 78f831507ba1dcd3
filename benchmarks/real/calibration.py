"""Temperature of a classifier's recipe, fitted on held-out digits, and what it does on the test set.

`python benchmarks/real/calibration.py MNIST RUN`, with the directory of MNIST and that of a run which held
5,000 digits out: `zoo train cnn_mnist --set validation=5000 --set temperature=1 --out RUN`.
"""

import sys

import jax
import numpy as np

import zoo
from zoo.training import DATASETS, load_split
from zoo.training.calibration import expected_calibration_error, fit_temperature, probabilities

HELD_OUT = 5_000
NAMES = ("cnn_mnist", "mlp_mnist")


def main(data: str, run: str) -> None:
    train, test = (load_split(DATASETS["mnist"], split, data) for split in ("train", "test"))
    held_out = logits_of(run, train.inputs[-HELD_OUT:])
    print(f"temperature of {run}: {fit_temperature(held_out, train.labels[-HELD_OUT:]):.3f}")
    print("on the test set             accuracy    NLL      ECE")
    for name in NAMES:
        _print(name, logits_of(name, test.inputs), test.labels)


def logits_of(name: str, images: np.ndarray) -> np.ndarray:
    function = jax.jit(lambda model, pixels: model(pixels / np.float32(255)))
    model = zoo.load(name, pretrained=True)
    return np.concatenate(
        [np.asarray(function(model, part)) for part in np.split(images, len(images) // 1000)]
    )


def _print(label: str, logits: np.ndarray, labels: np.ndarray) -> None:
    likelihoods = np.take_along_axis(probabilities(logits), labels[:, None], axis=1)
    accuracy, error = (logits.argmax(-1) == labels).mean(), expected_calibration_error(logits, labels)
    print(f"{label:28}{accuracy:.4f}   {-np.log(likelihoods).mean():.5f}  {error:.5f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
