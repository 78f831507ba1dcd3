"""Converting a large checkpoint: seconds and peak memory, against `cp` and against PyTorch.

Every tensor is a matrix to be transposed. `zoo convert` checks CRCs, looks for NaN and syncs its file to
the disk, as does `cp, then sync`; the others do not. Minima of several rounds, each in a fresh process,
start-up included.

    python -m benchmarks.convert --gigabytes 5 --directory /somewhere/with/15/gigabytes/free
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import machine, table

SYNCED = "cp, then sync"
WIDTH = 4096  # a tensor has 64 MiB, as in models of some billion parameters

PYTORCH = """
import sys, numpy, torch, safetensors.torch, safetensors.numpy
source, out = sys.argv[1:]
if source.endswith(".pth"):
    tensors = torch.load(source, map_location="cpu", mmap=True, weights_only=True)
else:
    tensors = safetensors.torch.load_file(source)
arrays = {name: numpy.ascontiguousarray(tensor.numpy().T) for name, tensor in tensors.items()}
safetensors.numpy.save_file(arrays, out)
"""


# A process begins with the peak memory of the one that started it: this one imports nothing large.
def run(command: list[str], **environment: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak resident gigabytes of a process."""
    started = os.times().elapsed
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {' '.join(command)}")
    return os.times().elapsed - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def commands(source: Path, out: Path) -> dict[str, list[str]]:
    module = ["--module", "benchmarks._stack:Stack", "--input", f"1,{WIDTH}"]
    return {
        "cp": ["cp", str(source), str(out)],
        SYNCED: ["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(source), str(out)],
        "zoo convert": [sys.executable, "-m", "zoo", "convert", str(source), *module, "-o", str(out)],
        "torch": [sys.executable, "-c", PYTORCH, str(source), str(out)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where the files go; needs room for two of them")
    arguments = parser.parse_args()
    layers = max(1, round(arguments.gigabytes * 1e9 / (4 * WIDTH**2)))
    print(machine("jax", "flax", "torch", "safetensors"))
    rows = []
    for suffix in (".pth", ".safetensors"):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            source, out = Path(directory, f"source{suffix}"), Path(directory, "out.safetensors")
            subprocess.run([sys.executable, "-m", "benchmarks._stack", str(source), str(layers)], check=True)
            best = dict.fromkeys(commands(source, out), (math.inf,) * 3)
            for _ in range(arguments.rounds):
                for name, command in commands(source, out).items():
                    os.sync()
                    figures = run(command, BENCHMARK_LAYERS=str(layers))
                    best[name] = tuple(map(min, best[name], figures))
                    out.unlink()
        for name, (seconds, cpu, memory) in best.items():
            ratios = [seconds / best[copy][0] for copy in ("cp", SYNCED)]
            figures = (seconds, *ratios, cpu, memory)
            rows.append((f"{suffix}: {name}", *(f"{figure:.2f}" for figure in figures)))
    print(f"{layers} matrices of {WIDTH} x {WIDTH} float32, {layers * 4 * WIDTH**2 / 1e9:.2f} GB")
    print(table(("", "seconds", "times cp", "times synced", "CPU seconds", "peak GB"), rows))


if __name__ == "__main__":
    main()
