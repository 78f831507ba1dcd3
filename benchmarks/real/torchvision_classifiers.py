"""The zoo's classifiers against torchvision's, by name: random weights and statistics, in float64.

    python -m benchmarks.real.torchvision_classifiers [PATTERN ...]

For each model of torchvision that the manifest has: the largest difference of two images' logits in
evaluation, as a part of the largest logit, and how far the two images' own are apart, without which nothing
would be compared but biases. Height and width differ where the network allows it. One that is outside the
bound ends the run with 1. Needs 16 GB for the largest model, whose numbers are there three times.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import time
import warnings

import numpy as np
import torchvision

import zoo
from benchmarks.real._equal import differences
from tests.equivalence import FORWARD

SIDES = (64, 96)
# Families that need larger images, or take those of one size.
OTHERS = {"inception": (80, 107), "vit": (224, 224), "maxvit": (224, 224)}
# Sizes of the scales of norms, 1 for others: 80 residual blocks would let rounding errors grow without end.
NORMS = {"efficientnet_v2_m": 0.7, "efficientnet_v2_l": 0.7}
OPTIONS = {"googlenet": {"aux_logits": False}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*", default=["*"])
    patterns = parser.parse_args().patterns
    warnings.simplefilter("ignore", FutureWarning)  # two models will be initialised otherwise some day
    every = torchvision.models.list_models(module=torchvision.models)
    here = [name for name in every if name in zoo.list_models()]
    chosen = [name for name in here if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    print("| model | family | parameters | sides | difference | of images | seconds |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    worst = max(measured(name) for name in chosen)
    print(f"\n{len(chosen)} of {len(here)} models of {len(every)}; the largest difference is {worst:.1e}")
    raise SystemExit(worst > FORWARD)


def measured(name: str) -> float:
    """Returns the difference of a model, after printing its row."""
    start = time.perf_counter()
    entry = zoo.info(name)
    options = {"transform_input": True} if entry.config.get("transform_input") else {}
    twin = torchvision.models.get_model(name, **options, **OPTIONS.get(entry.family, {}))
    height, width = OTHERS.get(entry.family, SIDES)
    images = np.random.default_rng(7).random((2, height, width, 3))
    found, apart = differences(entry, twin, images, norms=NORMS.get(name, 1.0))
    seconds = time.perf_counter() - start
    print(
        f"| {name} | {entry.family} | {entry.num_params:,} | {height} x {width} "
        f"| {found:.1e} | {apart:.1e} | {seconds:.0f} |",
        flush=True,
    )
    return found if apart > 1e-6 else 1.0


if __name__ == "__main__":
    main()
