"""Images a second of classifiers: zoo against PyTorch, eager and compiled, and ONNX Runtime.

    python benchmarks/inference.py [--rounds 9] [--images 16] [--models resnet18 ...] [--batches 1 8]

All have the same random weights, and their logits are compared first. Each contender has a process of its
own, which waits while another one runs. Models without batch norm have none to fold.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import _harness
import numpy as np
import torch
from _inference import CONTENDERS, FOLDED, torchvision_model

import converters
import zoo

MODELS = (
    "resnet18",
    "resnet50",
    "convnext_tiny",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "swin_t",
    "vit_b_16",
)
FASTEST = "ONNX Runtime"
Case = tuple[str, int]  # a model and the images of a batch
VERSIONS = ("jax", "flax", "torch", "torchvision", "onnxruntime")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--images", type=int, default=16, help="images of each round, a multiple of the batches"
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    options = parser.parse_args()
    print(_harness.machine(*VERSIONS), end="\n\n")
    cases = [(name, batch) for name in options.models for batch in options.batches]
    seconds = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as directory:
            contenders = write_files(*case, Path(directory))
            calls = options.images // case[1]
            seconds[case] = measure(*case, Path(directory), contenders, rounds=options.rounds, calls=calls)
    titles = [f"{name}, batch {batch}" for name, batch in cases]
    speeds = {
        (name, batch): {each: batch / took for each, took in of.items()}
        for (name, batch), of in seconds.items()
    }
    ratios = {case: {each: took / of[FASTEST] for each, took in of.items()} for case, of in seconds.items()}
    print(_harness.table(["images a second", *titles], rows(speeds, "{:.1f}")), end="\n\n")
    print(_harness.table([f"time, as a multiple of {FASTEST}'s", *titles], rows(ratios, "{:.2f}")))


def rows(figures: Mapping[Case, Mapping[str, float]], form: str) -> list[tuple[str, ...]]:
    """Returns a row for each contender; empty where it has nothing to run."""
    return [
        (each, *(form.format(of[each]) if each in of else "" for of in figures.values()))
        for each in CONTENDERS
    ]


def write_files(name: str, batch: int, directory: Path) -> list[str]:
    """Writes the zoo's random weights for PyTorch and ONNX Runtime, and returns the contenders."""
    model = zoo.load(name)
    converters.write_checkpoint(zoo.to_torch(model), directory / f"{name}.pth")
    channels_first = torch.zeros(batch, 3, 224, 224)
    file = directory / f"{name}-{batch}.onnx"
    torch.onnx.export(torchvision_model(name, directory), (channels_first,), file, verbose=False)
    return [each for each in CONTENDERS if each != FOLDED or "batch_stats" in model.variables]


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


def measure(
    name: str, batch: int, directory: Path, contenders: Sequence[str], *, rounds: int, calls: int
) -> dict[str, float]:
    """Median seconds of a call, the contenders taking turns of `calls`."""
    with ExitStack() as stack:
        workers = {each: Worker(each, name, batch, directory) for each in contenders}
        for worker in workers.values():
            stack.enter_context(worker.process)
        check(workers, name, batch)
        times = {each: [] for each in workers}
        for _ in range(rounds):
            for each, worker in workers.items():
                times[each].append(worker.seconds(calls) / calls)
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
