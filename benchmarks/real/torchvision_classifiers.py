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
import gc
import time
import warnings

import jax
import numpy as np
import torch
import torchvision

import converters
import zoo
from tests.equivalence import FORWARD, difference, randomise, state_dict
from tests.reference.published import without_buffers
from zoo._loading.build import build
from zoo._registry import families

SIDES = (64, 96)
# Families that need larger images, or take those of one size.
OTHERS = {"inception": (80, 107), "vit": (224, 224), "maxvit": (224, 224)}
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
    """The difference of a model, which is printed as a row."""
    start = time.perf_counter()
    entry = zoo.info(name)
    family = families.family(entry)
    options = {"transform_input": True} if entry.config.get("transform_input") else {}
    twin = torchvision.models.get_model(name, **options, **OPTIONS.get(entry.family, {}))
    # Tables that a Swin transformer computes keep their numbers.
    randomise(without_buffers(twin), norms=1.0).eval()
    height, width = OTHERS.get(entry.family, SIDES)
    images = np.random.default_rng(7).random((2, height, width, 3))
    with torch.no_grad():
        theirs = twin(torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))).numpy()
    module, _ = build(entry)
    with jax.enable_x64(True):
        names = family.torch_names["torchvision"]
        variables = converters.convert(
            state_dict(twin), module, images, names=names, ignore=[*family.ignored]
        )
        del twin
        ours = np.asarray(jax.jit(module.apply)(variables, images))
    found, apart = difference(ours, theirs), difference(ours[:1], ours[1:])
    seconds = time.perf_counter() - start
    sides = f"{height} x {width}"
    print(
        f"| {name} | {entry.family} | {entry.num_params:,} | {sides} "
        f"| {found:.1e} | {apart:.1e} | {seconds:.0f} |",
        flush=True,
    )
    del variables
    jax.clear_caches()
    gc.collect()
    return found if apart > 1e-6 else 1.0


if __name__ == "__main__":
    main()
