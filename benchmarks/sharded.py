"""Loading a checkpoint of GPT-2 XL's size onto eight virtual devices: time, memory of the host, bytes read.

    python benchmarks/sharded.py [--dtype float32] [--name gpt2-xl] [--directory /a/fast/disk]

The checkpoint is one of the Hub's layout, 6 GB in float32, made on the spot: its numbers are the same row
again and again. "Beside the arrays" is the peak of a process's memory without the arrays on its devices; of
that, the interpreter with jax and the zoo has "before" already.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import _harness
import jax
import numpy as np

import converters
import zoo

HERE = Path(__file__).parent
CONFIG = HERE.parent / "tests" / "data" / "configs" / "gpt2.config.json"
SIZES = {"n_embd": "width", "n_layer": "depth", "n_head": "heads"}
RUNS = {
    "whole, then device_put": ("whole", 1),
    "sharding=zoo.fsdp(mesh)": ("fsdp", 1),
    "the same, two processes": ("fsdp", 2),
}
TITLES = (
    *("", "seconds", "CPU seconds", "arrays, GB", "read, GB", "of the share"),
    *("peak, GB", "beside the arrays, GB", "before, GB"),
)


class Rows(Mapping[str, np.ndarray]):
    """Tensors that are made when they are written."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> None:
        self.shapes, self.dtypes = shapes, dict.fromkeys(shapes, np.dtype(dtype))

    def __getitem__(self, name: str) -> np.ndarray:
        *outer, width = self.shapes[name]
        row = np.random.default_rng(len(name)).standard_normal(width).astype(self.dtypes[name])
        return np.ascontiguousarray(np.broadcast_to(row, (*outer, width)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def write(directory: Path, name: str, dtype: Any) -> None:
    """A checkpoint of that model's size."""
    entry = zoo.info(name)
    config = json.loads(CONFIG.read_text())
    config |= {theirs: entry.config[ours] for theirs, ours in SIZES.items() if ours in entry.config}
    (directory / "config.json").write_text(json.dumps(config))
    module, tokens = zoo.gpt2.create(**entry.config), jax.ShapeDtypeStruct((1, 8), "int32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
    # Untouched zeros need no memory, and GPT-2's tensors are its arrays.
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    names = zoo.gpt2.TORCH_NAMES["transformers_model"]
    tensors = converters.to_torch(blank, module, tokens, names=names)
    rows = Rows({name: tensor.shape for name, tensor in tensors.items()}, dtype)
    converters.write_checkpoint(rows, directory / "model.safetensors")


def run(directory: Path, how: str, processes: int) -> list[dict[str, Any]]:
    """Returns the figures that each of the processes prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "_load_sharded.py"), str(directory), how]
    started = [
        subprocess.Popen([*command, str(index), str(processes), str(port)], stdout=subprocess.PIPE, text=True)
        for index in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{how} in {processes} processes: {[each.returncode for each in started]}")
    return [json.loads(each.splitlines()[-1]) for each in said]


def cells(title: str, figures: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    gigabytes = {name: f"{figures[name] / 1e9:.2f}" for name in ("arrays", "read", "peak", "idle")}
    beside = (figures["peak"] - figures["arrays"]) / 1e9
    return [
        title,
        *(f"{figures['seconds']:.1f}", f"{figures['cpu']:.1f}", gigabytes["arrays"], gigabytes["read"]),
        f"{figures['read'] / figures['arrays']:.3f}",
        *(gigabytes["peak"], f"{beside:.2f}", gigabytes["idle"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="gpt2-xl")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--directory")
    options = parser.parse_args()
    print(_harness.machine("jax", "flax", "numpy"), end="\n\n")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        write(Path(directory), options.name, jax.numpy.dtype(options.dtype))
        for title, (how, processes) in RUNS.items():
            found = run(Path(directory), how, processes)
            rows += [
                cells(f"{title}{f', {index + 1}' if processes > 1 else ''}", figures)
                for index, figures in enumerate(found)
            ]
    print(_harness.table(TITLES, rows))


if __name__ == "__main__":
    main()
