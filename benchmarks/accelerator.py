"""Models on an accelerator, beside PyTorch on the same one: how exact, and how fast.

    python benchmarks/accelerator.py [forward|training|tokens ...] [--models ...] [--rounds 7]

Weights are random, and the same on both sides. "apart" is the largest difference of a model's outputs from
those of float64 on the CPU, as a part of the largest. TF32, products of numbers with 10 bits after the point,
is what JAX takes for float32 on NVIDIA's cards unless `jax_default_matmul_precision` is "highest", which it
is for "float32" here. Sides have processes of their own, which compile together and are measured in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import _harness
import numpy as np
from _accelerator import TOKENS

WAYS = {
    "forward": (
        *(("zoo", "float32"), ("torch", "float32"), ("zoo", "TF32"), ("torch", "TF32")),
        *(("zoo", "bfloat16"), ("torch", "bfloat16"), ("torch.compile", "bfloat16")),
    ),
    "training": (("zoo", "TF32"), ("torch", "TF32"), ("zoo", "bfloat16"), ("torch", "bfloat16")),
    "tokens": (("zoo", "TF32"), ("torch", "TF32"), ("zoo", "bfloat16"), ("torch", "bfloat16")),
}
MODELS = {
    "forward": ("resnet50", "vit_b_16", "convnext_tiny", "efficientnet_b0", "swin_t"),
    "training": ("resnet50", "vit_b_16"),
    "tokens": ("gpt2",),
}
BATCHES = {"forward": (64,), "training": (64,), "tokens": (1, 32)}
SCRIPT = str(Path(__file__).with_name("_accelerator.py"))
ENVIRONMENT = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", default=[*WAYS])
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    card = subprocess.run([sys.executable, SCRIPT, "card"], capture_output=True, text=True).stdout.strip()
    if not card:
        print("no accelerator that both JAX and PyTorch see")
        return
    print(f"{card}, {_harness.machine('jax', 'flax', 'torch', 'torchvision', 'transformers')}", flush=True)
    for task in options.tasks:
        rows = []
        for name in options.models or MODELS[task]:
            for batch in BATCHES[task]:
                rows += rows_of(task, name, batch, options.rounds)
                print(*rows[-len(WAYS[task]) :], sep="\n", flush=True)
        print(f"\n{_harness.table((task, 'apart', 'items/s', 'times torch'), rows)}\n", flush=True)


def rows_of(task: str, name: str, batch: int, rounds: int) -> list[tuple[str, ...]]:
    """A model's rows of a table."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, SCRIPT, "prepare", name, task, directory]
        subprocess.run(command, check=True, env={**ENVIRONMENT, "JAX_PLATFORMS": "cpu"})
        seconds = measure(task, batch, directory, rounds)
        items = batch * (TOKENS if task == "tokens" else 1)
        rows = []
        for side, numbers in WAYS[task]:
            apart = difference(Path(directory), side, numbers) if task == "forward" else None
            taken = seconds[side, numbers]
            rows.append(
                (
                    f"{name}, batch {batch}: {side}, {numbers}",
                    "" if apart is None else f"{apart:.1e}",
                    f"{items / taken:,.0f}",
                    f"{seconds['torch', numbers] / taken:.2f}",
                )
            )
        return rows


def difference(directory: Path, side: str, numbers: str) -> float:
    exact, found = (np.load(directory / f"{each}.npy") for each in ("exact", f"{side}-{numbers}"))
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def measure(task: str, batch: int, directory: str, rounds: int) -> dict[tuple[str, str], float]:
    """Median seconds of a call, the sides taking turns."""
    times: dict[tuple[str, str], list[float]] = {way: [] for way in WAYS[task]}
    with ExitStack() as stack:
        workers = {}
        for way in times:
            command = [sys.executable, SCRIPT, *way, task, str(batch), directory]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            workers[way] = stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, **pipes))
        for way, worker in workers.items():
            if not worker.stdout.readline():
                raise RuntimeError(f"{way}: exit {worker.wait()}")
        for _ in range(rounds):
            for way, worker in workers.items():
                worker.stdin.write("3\n")
                worker.stdin.flush()
                times[way].append(float(worker.stdout.readline()) / 3)
                time.sleep(_harness.PAUSE)
    return {way: statistics.median(of_way) for way, of_way in times.items()}


if __name__ == "__main__":
    main()
