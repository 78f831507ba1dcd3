"""Loading a pretrained model: a fresh process up to its first output, and loading alone, against PyTorch.

    python benchmarks/load.py [--rounds 9]

PyTorch loads the same arrays from files of its own, into the modules of tests/reference/twins.py, of
torchvision and of transformers. The two large models have random weights: the ResNet in a directory that
`zoo.save` wrote, GPT-2 in one of the Hub's layout, whose PyTorch tensors both sides read.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import _harness
import jax
import safetensors.torch
import torch

import converters
import zoo

HERE = Path(__file__).parent
# zoo's name and PyTorch's
NAMES = {
    "mlp_mnist": "MLP",
    "cnn_mnist": "CNN",
    "vae_mnist": "VAE",
    "resnet50": "resnet50",
    "gpt2": "GPT2LMHeadModel",
}
METADATA = {"format": "pt"}  # without which transformers takes no file
CONFIG = HERE.parent / "tests" / "data" / "configs" / "gpt2.config.json"


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
    """Returns the command that loads the model, after writing PyTorch's files."""
    bundled = str(zoo.info(name).weights).startswith("bundled")
    model = zoo.load(name, pretrained=bundled)
    inputs = zoo.info(name).inputs
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in inputs]
    names = zoo.gpt2.TORCH_NAMES["transformers"] if name == "gpt2" else ()
    tensors = {
        path: torch.from_numpy(array.copy())
        for path, array in converters.to_torch(model.variables, model.module, *shapes, names=names).items()
    }
    pth, st = directory / name / "pth" / "pytorch_model.bin", directory / name / "st" / "model.safetensors"
    for file, save in ((pth, torch.save), (st, partial(safetensors.torch.save_file, metadata=METADATA))):
        file.parent.mkdir(parents=True)
        save(tensors, file)
        if name == "gpt2":
            shutil.copy(CONFIG, file.with_name("config.json"))
    place = name if bundled else str(st.parent)
    if name == "resnet50":
        place = str(directory / name / "zoo")
        zoo.save(model, place)
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
