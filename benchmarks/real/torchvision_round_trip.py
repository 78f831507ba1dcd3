"""State dicts of random bits of all torchvision classification models, through both file formats and back.

    python -m benchmarks.real.torchvision_round_trip [--models PATTERN] [--directory DIR]

torch.save writes the first file; read_checkpoint and write_checkpoint make a .safetensors and a .pth of it;
all are compared with the state dict bit by bit, as read here and as read by torch and safetensors themselves.
Needs torchvision. DIR wants room for two copies of the largest model, 5.2 GB.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision

import converters
from benchmarks._bits import differences, raw


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="*")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    names = fnmatch.filter(torchvision.models.list_models(module=torchvision.models), options.models)
    rng = np.random.default_rng(0)
    count = size = failed = 0
    start = time.perf_counter()
    for name in names:
        state_dict = random_state_dict(name, rng)
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            problems = list(round_trip(state_dict, Path(directory)))
        bytes_ = sum(tensor.nbytes for tensor in state_dict.values())
        verdict = "; ".join(problems) or "identical"
        print(f"{name:20} {len(state_dict):5} tensors {bytes_ / 1e6:8.1f} MB  {verdict}", flush=True)
        count, size, failed = count + len(state_dict), size + bytes_, failed + bool(problems)
    seconds = time.perf_counter() - start
    print(f"{len(names)} models, {count} tensors, {size / 1e9:.2f} GB, {failed} failed, {seconds:.0f} s")
    raise SystemExit(failed > 0)


def random_state_dict(name: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Names, shapes and dtypes of the model; the values are random bits, NaN and infinity among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two models will be initialised otherwise some day
        state_dict = torchvision.models.get_model(name, weights=None).state_dict()
    for tensor in state_dict.values():
        raw(tensor)[:] = np.frombuffer(rng.bytes(tensor.nbytes), np.uint8)
    return state_dict


def round_trip(state_dict: Mapping[str, torch.Tensor], directory: Path) -> Iterator[str]:
    """Returns the differences in words."""
    source = directory / "source.pth"
    torch.save(state_dict, source)
    checkpoint = converters.read_checkpoint(source)
    yield from differences(checkpoint, state_dict)
    for suffix, load in LOAD.items():
        path = directory / f"written{suffix}"
        converters.write_checkpoint(checkpoint, path)
        order = suffix == ".pth"  # a .safetensors file sorts the tensors by their alignment
        for found in (converters.read_checkpoint(path), load(path)):
            for difference in differences(found, state_dict, order=order):
                yield f"{suffix}: {difference}"
        path.unlink()


LOAD = {
    ".safetensors": safetensors.torch.load_file,
    ".pth": lambda path: torch.load(path, weights_only=True, mmap=True),
}


if __name__ == "__main__":
    main()
