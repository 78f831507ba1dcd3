import json

import numpy as np
import pytest

from zoo.training.metrics import append_rows, forget_after, read_rows, window_rows


@pytest.mark.parametrize(
    ("steps", "ends"), [(7, [7]), (100, [100]), (250, [50, 150, 250]), (300, [100, 200, 300])]
)
def test_rows_average_a_hundred_updates_and_end_with_the_epoch(steps, ends):
    loss = np.arange(steps, dtype=np.float32)
    rows = window_rows({"loss": loss}, epoch=3)
    assert [row["step"] for row in rows] == [2 * steps + end for end in ends]
    starts = [0, *ends[:-1]]
    means = [loss[start:end].mean() for start, end in zip(starts, ends, strict=True)]
    assert [row["loss"] for row in rows] == pytest.approx(means)
    assert {row["epoch"] for row in rows} == {3}


def test_half_a_line_is_not_read_and_the_rows_before_it_are(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_rows(path, [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
    with path.open("a") as file:
        file.write('{"epoch": 3, "lo')
    assert [row["epoch"] for row in read_rows(path)] == [1, 2]


def test_rows_of_epochs_that_come_again_and_of_the_result_are_forgotten(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_rows(path, [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}, {"mnist_test_accuracy": 0.9}])
    forget_after(path, 2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"epoch": 1}, {"epoch": 2}]


def test_a_file_that_is_not_there_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "metrics.jsonl") == []
