"""The zoo's modules for timm's weights against timm's own: random weights and statistics, in float64.

    python -m benchmarks.real.timm_models [--most PARAMETERS] [PATTERN ...]

For each option of a family that entries have, in the smallest model with it: the largest difference of two
images' outputs in evaluation, as a part of the largest, and how far the two images' own are apart, without
which nothing would be compared but biases. Words and switches are an option each; numbers and their lists are
one by keyword. One that is outside the bound ends the run with 1.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import time
from contextlib import nullcontext

import numpy as np
import timm

import zoo
from benchmarks.real._equal import differences
from tests.equivalence import FORWARD
from tests.reference.rotary_models import float64_places
from zoo._registry.entry import Entry

SMALL = ("convnext", "densenet", "efficientnet", "mobilenet", "regnet", "resnet", "vgg")
SIDES = (64, 96)
LIST = {"variant"}  # keywords whose values are lists of numbers by name


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--most", type=int, default=400_000_000)
    options = parser.parse_args()
    entries = [zoo.info(name) for name in zoo.list_models()]
    smallest = dict[tuple[str, ...], Entry]()
    for entry in sorted(entries, key=lambda each: each.num_params, reverse=True):
        if entry.source and entry.source.startswith("timm"):
            smallest |= dict.fromkeys(options_of(entry), entry)
    chosen = {each.name: each for each in smallest.values() if each.num_params <= options.most}
    names = [name for name in sorted(chosen) if any(fnmatch.fnmatch(name, each) for each in options.patterns)]
    print("| model | parameters | sides | difference | of images | seconds |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    worst = max(measured(chosen[name]) for name in names)
    print(f"\n{len(names)} models for {len(smallest)} options; the largest difference is {worst:.1e}")
    raise SystemExit(worst > FORWARD)


def options_of(entry: Entry) -> list[tuple[str, ...]]:
    """Returns the options of an entry, each as its family, its keyword and a word or switch."""
    found = [(entry.family,)]
    for keyword, value in entry.config.items():
        told = isinstance(value, bool | str) and keyword not in LIST
        found.append((entry.family, keyword, str(value) if told else ""))
    return found


def measured(entry: Entry) -> float:
    """Returns the difference of a model, after printing its row."""
    start = time.perf_counter()
    _, *sides, _ = entry.inputs[0].shape
    height, width = SIDES if entry.family in SMALL else sides
    images = np.random.default_rng(7).random((2, height, width, 3))
    # timm's rotary angles are in float32, whatever the dtype of the model; so are Swin's offsets, here too.
    with float64_places() if entry.family == "eva" else nullcontext():
        found, apart = differences(entry, timm.create_model(entry.name), images)
    seconds = time.perf_counter() - start
    print(
        f"| {entry.name} | {entry.num_params:,} | {height} x {width} "
        f"| {found:.1e} | {apart:.1e} | {seconds:.0f} |",
        flush=True,
    )
    return found if apart > 1e-6 else 1.0


if __name__ == "__main__":
    main()
