"""Images a second of ResNets: zoo against PyTorch, eager and compiled, and ONNX Runtime.

    python benchmarks/inference.py [--rounds 9] [--models resnet18 resnet50] [--batches 1 8]

All have the same random weights, and their logits are compared first. Each contender has a process of its
own, which waits while another one runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import _harness
import jax
import numpy as np
import torch
from _inference import CONTENDERS, torchvision_model

import converters
import zoo

IMAGES = 16  # a run
FASTEST = "ONNX Runtime"
VERSIONS = ("jax", "flax", "torch", "torchvision", "onnxruntime")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    options = parser.parse_args()
    print(_harness.machine(*VERSIONS), end="\n\n")
    cases = [(name, batch) for name in options.models for batch in options.batches]
    seconds = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as directory:
            write_files(*case, Path(directory))
            seconds[case] = measure(*case, Path(directory), options.rounds)
    titles = [f"{name}, batch {batch}" for name, batch in cases]
    speeds = [[f"{IMAGES / seconds[case][each]:.1f}" for case in cases] for each in CONTENDERS]
    print(_harness.table(["images a second", *titles], rows(speeds)), end="\n\n")
    ratios = [
        [f"{seconds[case][each] / seconds[case][FASTEST]:.2f}" for case in cases] for each in CONTENDERS
    ]
    print(_harness.table([f"time, as a multiple of {FASTEST}'s", *titles], rows(ratios)))


def rows(cells: list[list[str]]) -> list[tuple[str, ...]]:
    return [(name, *row) for name, row in zip(CONTENDERS, cells, strict=True)]


def write_files(name: str, batch: int, directory: Path) -> None:
    """The zoo's random weights for PyTorch and ONNX Runtime."""
    model = zoo.load(name)
    shape = jax.ShapeDtypeStruct((batch, 224, 224, 3), "float32")
    converters.write_checkpoint(
        converters.to_torch(model.variables, model.module, shape), directory / f"{name}.pth"
    )
    channels_first = torch.zeros(batch, 3, 224, 224)
    file = directory / f"{name}-{batch}.onnx"
    torch.onnx.export(torchvision_model(name, directory), (channels_first,), file, verbose=False)


class Worker:
    """A contender's process."""

    def __init__(self, contender: str, name: str, batch: int, directory: Path) -> None:
        script = str(Path(__file__).with_name("_inference.py"))
        command = [sys.executable, script, contender, name, str(batch), str(directory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.logits = np.array(json.loads(self.answer()))

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"exit {self.process.wait()}: {self.process.args}")
        return line

    def seconds(self, calls: int) -> float:
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return float(self.answer())


def measure(name: str, batch: int, directory: Path, rounds: int) -> dict[str, float]:
    """Median seconds for IMAGES images, the contenders taking turns."""
    with ExitStack() as stack:
        workers = {each: Worker(each, name, batch, directory) for each in CONTENDERS}
        for worker in workers.values():
            stack.enter_context(worker.process)
        check(workers, name, batch)
        times = {each: [] for each in workers}
        for _ in range(rounds):
            for each, worker in workers.items():
                times[each].append(worker.seconds(IMAGES // batch))
                time.sleep(_harness.PAUSE)
    return {each: statistics.median(of_each) for each, of_each in times.items()}


def check(workers: dict[str, Worker], name: str, batch: int) -> None:
    """The contenders compute the same."""
    wanted = workers[FASTEST].logits
    for each, worker in workers.items():
        error = np.abs(worker.logits - wanted).max() / np.abs(wanted).max()
        if not error < 1e-3:
            raise SystemExit(f"{name}, batch {batch}: the logits of {each} differ by {error:.1e}")


if __name__ == "__main__":
    main()
