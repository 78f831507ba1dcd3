"""Several processes of one run, on the loopback address."""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support import compilation
from tests.zoo.training import tables
from zoo.training import TrainingError
from zoo.training.metrics import read_rows
from zoo.training.processes import join

pytestmark = pytest.mark.costly

ROOT = Path(__file__).parents[3]
SHARES = """
import sys
from dataclasses import replace
import jax, numpy as np
from zoo.training import find_recipe
from zoo.training.partitioning import make_partitioner
from zoo.training.processes import join

if sys.argv[1]:
    join(sys.argv[1])
recipe = replace(find_recipe("gpt_shakespeare"), batch_size=6)
where = make_partitioner(f"data={jax.device_count()}", None, recipe)
examples = where.examples(np.arange(1, 18))
print(*(int(each) for share in examples.addressable_shards for each in share.data if each))
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def places(count: int) -> list[str]:
    port = free_port()
    return [f"{index}/{count}@127.0.0.1:{port}" for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_example_is_with_exactly_one_process(count):
    commands = [[sys.executable, "-c", SHARES, place if count > 1 else ""] for place in places(count)]
    started = [subprocess.Popen(each, cwd=ROOT, stdout=subprocess.PIPE, text=True) for each in commands]
    shares = [[int(each) for each in process.communicate()[0].split()] for process in started]
    assert all(process.returncode == 0 for process in started)
    assert max(map(len, shares)) == -(-17 // count)
    assert sorted(chain(*shares)) == list(range(1, 18))


class Run:
    """`zoo finetune` in a directory, by any number of processes."""

    def __init__(self, folder: Path) -> None:
        self.environment = os.environ | compilation.shared_by_processes(folder)
        self.model = tables.write_bert(folder / "bert")
        (folder / "texts").mkdir()
        self.data = tables.write_texts(folder / "texts")

    def start(self, out: Path, count: int, *options: str) -> list[subprocess.Popen]:
        command = [sys.executable, "-m", "zoo", "finetune", str(self.model), "--data", str(self.data)]
        command += ["--out", str(out), "--set", "epochs=3", "--set", "keep=1", *options]
        each = [["--process", place] if count > 1 else [] for place in places(count)]
        return [
            subprocess.Popen(
                [*command, *more],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for more in each
        ]

    def run(self, out: Path, count: int, *options: str) -> list[tuple[str, str]]:
        started = self.start(out, count, *options)
        said = [process.communicate() for process in started]
        assert [process.returncode for process in started] == [0] * count, said
        return said


def arrays(directory: Path) -> dict[str, np.ndarray]:
    return load_file(directory / "model.safetensors")


@pytest.mark.slow
def test_a_run_of_two_processes_of_which_one_is_killed_is_resumed_to_the_same_arrays(tmp_path):
    run = Run(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    said = run.run(whole, 2)
    assert "validation_accuracy" in said[0][0]
    assert not said[1][1]  # one of them writes and prints, but for what Gloo says of itself
    assert all(line.startswith("[Gloo]") for line in said[1][0].splitlines())

    first, second = run.start(killed, 2)
    while not any((killed / "checkpoints").glob("1/_CHECKPOINT_METADATA")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    _, error = first.communicate(timeout=100)
    assert first.returncode not in (0, None)
    assert "another process of the run has ended" in error
    assert not (killed / "model.safetensors").exists()

    run.run(killed, 2, "--resume")
    expected, found = arrays(whole), arrays(killed)
    assert expected.keys() == found.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)
    measured = [
        [{**row, "seconds": 0} for row in read_rows(each / "metrics.jsonl")] for each in (whole, killed)
    ]
    assert measured[0] == measured[1]

    # Restored by one process, the last checkpoint is the same state.
    run.run(killed, 1, "--resume")
    for path, array in expected.items():
        np.testing.assert_array_equal(arrays(killed)[path], array, err_msg=path)


def test_a_place_that_is_none_is_refused():
    for place in ("0/2", "2/2@127.0.0.1:1", "first", "0/2@127.0.0.1"):
        with pytest.raises(TrainingError, match="is no place among processes"):
            join(place)
