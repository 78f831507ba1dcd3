"""Shared parts of the benchmarks: fresh processes run in turns, medians, tables, a line about the machine."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PAUSE = 0.25  # seconds between runs: threads of the one before may still be spinning


def in_turns(commands: Mapping[str, Sequence[str]], *, rounds: int) -> dict[str, dict[str, float]]:
    """Runs every command once a round, each in a fresh process, and returns medians in seconds by command.

    A command prints a line, whatever it says, when it has its first result: `fresh` is the time from the
    process's start to that line. A last line may give more figures as a JSON object.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(_run(command))
            time.sleep(PAUSE)
    return {
        name: {figure: statistics.median(run[figure] for run in of_name) for figure in of_name[0]}
        for name, of_name in runs.items()
    }


def _run(command: Sequence[str]) -> dict[str, float]:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        fresh = time.perf_counter() - start
        rest = process.stdout.read().splitlines()
    if process.returncode or not first:
        raise RuntimeError(f"exit {process.returncode}: {' '.join(command)}")
    return {"fresh": fresh, **(json.loads(rest[-1]) if rest else {})}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned to be read as text too; the first is left-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [_aligned(cells, widths) for cells in (header, rule, *rows)]
    return "\n".join(lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return f"| {first[0]:<{first[1]}} | {' | '.join(f'{cell:>{width}}' for cell, width in others)} |"


def machine(*distributions: str) -> str:
    """One line: processor, cores that this process may use, Python, and the versions of distributions."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in distributions]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([_processor(), f"{cores} cores", f"Python {platform.python_version()}", *versions])


def _processor() -> str:
    """The processor's name as Linux gives it; elsewhere as Python does."""
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
