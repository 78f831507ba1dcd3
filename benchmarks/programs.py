"""Programs of StableHLO where this package and Flax cannot be imported, against the models that they are of.

    python benchmarks/programs.py [--model resnet50 ...]

Weights are random. Each program is called with a number of examples, and of tokens, that the export did not
try; differences are parts of the largest output. Seconds are one of a fresh process until its first outputs,
and milliseconds the median of more calls; the model beside it is compiled by jax.jit in this process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import _harness
import jax
import numpy as np

import zoo
from zoo._saving.program import export_stablehlo

MODELS = ("resnet50", "gpt2", "all-minilm-l6-v2")
SIZES = {"batch": 5, "length": 17}
CALLS = 5
STRANGER = f"""
import sys
sys.modules["zoo"] = sys.modules["converters"] = sys.modules["flax"] = None  # none can be imported
import json, time
start = time.perf_counter()
import jax, numpy as np, safetensors.numpy
program = jax.export.deserialize(bytearray(open("program.stablehlo", "rb").read()))
weights = safetensors.numpy.load_file("model.safetensors")
inputs = list(np.load("inputs.npz").values())
call = jax.jit(program.call)
outputs = jax.block_until_ready(call(weights, *inputs))
first = time.perf_counter() - start
outputs = outputs if isinstance(outputs, dict) else {{"output": outputs}}
np.savez("outputs.npz", **outputs)
weights, times = jax.device_put(weights), []
for _ in range({CALLS}):
    start = time.perf_counter()
    jax.block_until_ready(call(weights, *inputs))
    times.append(time.perf_counter() - start)
print(json.dumps({{"first": first, "again": sorted(times)[{CALLS // 2}]}}))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="append")
    names = parser.parse_args().model or MODELS
    header = ("program", "MB", "export s", "difference", "first s", "ms", "model's ms")
    print(_harness.table(header, [row(name) for name in names]))
    print(_harness.machine("jax", "flax"))


def row(name: str) -> tuple[str, ...]:
    model = zoo.load(name)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "program"
        start = time.perf_counter()
        export_stablehlo(model, directory)
        exported = time.perf_counter() - start
        inputs = examples(json.loads((directory / "program.json").read_text()))
        np.savez(directory / "inputs.npz", **inputs)
        command = [sys.executable, "-I", "-c", STRANGER]
        said = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, check=True).stdout
        figures = json.loads(said)
        found = dict(np.load(directory / "outputs.npz"))
        size = sum(path.stat().st_size for path in directory.glob("*.stablehlo"))
    call, masks = jax.jit(model.__call__), {key: x for key, x in inputs.items() if key == "attention_mask"}
    others = [x for key, x in inputs.items() if key not in masks]
    outputs, own = timed(lambda: call(*others, **masks))
    right = {"output": outputs} if hasattr(outputs, "shape") else named(outputs)
    difference = max(np.abs(found[key] - right[key]).max() / np.abs(right[key]).max() for key in found)
    figures = [exported, difference, figures["first"], figures["again"] * 1e3, own * 1e3]
    kinds = (".1f", ".1e", ".1f", ".0f", ".0f")
    return name, f"{size / 1e6:.2f}", *(f"{each:{kind}}" for each, kind in zip(figures, kinds, strict=True))


def examples(described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(0), {}
    for each in described["inputs"]:
        shape = [SIZES.get(size, size) for size in each["shape"]]
        if each["name"] == "attention_mask":
            array = np.arange(shape[1]) < rng.integers(1, shape[1], (shape[0], 1))
        elif each["dtype"].startswith("int"):
            array = rng.integers(1000, size=shape)
        else:
            array = rng.normal(size=shape)
        found[each["name"]] = array.astype(each["dtype"])
    return found


def named(outputs: Any) -> dict[str, np.ndarray]:
    return {key: np.asarray(x) for key, x in vars(outputs).items() if x is not None}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    outputs, times = jax.block_until_ready(call()), []
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return outputs, median(times)


if __name__ == "__main__":
    main()
