"""Loading a pretrained model: a fresh process up to its first output, and loading alone, against PyTorch.

    python benchmarks/load.py [--rounds 9]

PyTorch loads the same arrays from files of its own, into the modules of tests/twins.py and of torchvision.
The ResNet has random weights, in a directory that `zoo.save` wrote.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _harness
import jax
import safetensors.torch
import torch

import converters
import zoo

HERE = Path(__file__).parent
# zoo's name and PyTorch's
NAMES = {"mlp_mnist": "MLP", "cnn_mnist": "CNN", "vae_mnist": "VAE", "resnet50": "resnet50"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(_harness.machine("jax", "flax", "torch", "safetensors"), end="\n\n")
    header = ("ms, median of fresh processes", "zoo", "torch .pth", "torch .safetensors", "ratio")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for name in NAMES:
            medians = _harness.in_turns(commands(name, Path(directory)), rounds=rounds)
            for figure, title in TITLES.items():
                rows.append((f"{name}: {title}", *cells([median[figure] for median in medians.values()])))
    print(_harness.table(header, rows))


TITLES = {
    "fresh": "process start to first output",
    "imports": "of that, imports",
    "load": "of that, loading",
    "output": "of that, first output",
    "again": "loading once more",
}


def commands(name: str, directory: Path) -> dict[str, list[str]]:
    """What loads the model, after writing PyTorch's files."""
    bundled = str(zoo.info(name).weights).startswith("bundled")
    model = zoo.load(name, pretrained=bundled)
    place = name
    if not bundled:
        place = str(directory / name)
        zoo.save(model, place)
    inputs = zoo.info(name).inputs
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs]
    tensors = {
        path: torch.from_numpy(array.copy())
        for path, array in converters.to_torch(model.variables, model.module, *shapes).items()
    }
    pth, st = directory / f"{name}.pth", directory / f"{name}.safetensors"
    torch.save(tensors, pth)
    safetensors.torch.save_file(tensors, st)
    described = json.dumps([(each.shape, each.dtype) for each in inputs])
    theirs = [sys.executable, str(HERE / "_load_torch.py"), NAMES[name], described]
    return {
        "zoo": [sys.executable, str(HERE / "_load_zoo.py"), place, described],
        "torch .pth": [*theirs, str(pth)],
        "torch .safetensors": [*theirs, str(st)],
    }


def cells(seconds: Sequence[float]) -> list[str]:
    """Milliseconds, and how many times as long PyTorch's faster way takes."""
    ours, *theirs = seconds
    return [*(f"{1e3 * each:.1f}" for each in seconds), f"{min(theirs) / ours:.2f}"]


if __name__ == "__main__":
    main()
