import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import zoo
from converters.errors import CheckpointError
from tests.support import compilation
from tests.zoo.training import tiny
from zoo.training import RECIPES, DataError, TrainingError, checkpointing, evaluate_pretrained, train
from zoo.training.metrics import read_rows

pytestmark = pytest.mark.costly


@pytest.fixture
def run(tmp_path, data, dataset, recipe):
    """Trains the smallest entry in a directory of that name."""

    def go(directory: str = "run", *, resume: bool = False, overwrite: bool = False, **changes) -> Path:
        train(
            "mlp_mnist",
            tmp_path / directory,
            recipe=replace(recipe, **changes),
            data=data,
            dataset=dataset,
            resume=resume,
            overwrite=overwrite,
        )
        return tmp_path / directory

    return go


def rows(directory: Path) -> list[dict[str, float]]:
    """The metrics without the times."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_rows(directory / "metrics.jsonl")
    ]


def test_a_run_leaves_metrics_and_a_model_that_loads_but_no_checkpoints_unasked(run, data, dataset):
    directory = run()
    assert sorted(path.name for path in directory.iterdir()) == [
        *("config.json", "curves.png", "metrics.jsonl", "model.safetensors", "run.json")
    ]
    assert [row.get("epoch") for row in rows(directory)] == [1, 1, 2, 2, 3, 3, None]
    metrics = rows(directory)[-1]
    assert metrics == dict(zoo.info(directory).metrics)
    assert metrics == evaluate_pretrained(directory, data=data, dataset=dataset)
    assert json.loads((directory / "run.json").read_text())["recipe"]["batch_size"] == 16


def test_what_can_be_learnt_is_learnt(run):
    directory = run(epochs=15, shift=0, clip_norm=0.0)
    assert rows(directory)[-1]["tiny_test_accuracy"] > 0.95


def test_the_same_seed_gives_the_same_file_and_another_seed_another(run):
    files = [
        (run(directory, seed=seed) / "model.safetensors").read_bytes()
        for directory, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_an_existing_run_is_neither_overwritten_nor_resumed_unasked(run, capsys):
    before = contents(run())
    with pytest.raises(
        TrainingError, match=r"choose another directory, resume=True .*, or overwrite=True to"
    ):
        run()
    with pytest.raises(TrainingError, match="choose resume=True or overwrite=True"):
        run(resume=True, overwrite=True)
    assert contents(run(resume=True)) == before
    assert "run' is complete; more epochs would go on with it." in capsys.readouterr().err


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_run_but_nothing_else_is_replaced_if_asked(run):
    directory = run(keep=1)
    (directory / "thesis.tex").write_text("precious")
    before = contents(directory)
    with pytest.raises(TrainingError, match=r"holds 'thesis\.tex', which is no part of a run"):
        run(overwrite=True, seed=3)
    assert contents(directory) == before
    (directory / "thesis.tex").unlink()
    assert_same_arrays(run(overwrite=True, seed=3), run("other", overwrite=True, seed=3))
    assert not (directory / "checkpoints").exists()


def test_a_finished_run_goes_on_with_more_epochs(run):
    whole = run("whole", epochs=3, decay="constant")
    extended = run(epochs=1, decay="constant", keep=1)
    assert run(resume=True, epochs=3, decay="constant") == extended
    assert_same_arrays(extended, whole)
    assert rows(extended) == rows(whole)
    record = json.loads((extended / "run.json").read_text())
    assert record["changes"] == [{"after_epoch": 1, "epochs": [1, 3], "keep": [1, 0]}]
    assert record["recipe"]["epochs"] == 3


def test_without_a_checkpoint_a_longer_run_begins_again_and_says_so(run, caplog):
    whole = run("whole", epochs=2)
    longer = run(epochs=1)
    run(resume=True, epochs=2)
    assert "kept no checkpoint to go on from (keep=0): all 2 epochs are trained again" in caplog.text
    assert_same_arrays(longer, whole)


@pytest.mark.parametrize("keep", [0, 1])
def test_fewer_epochs_than_are_done_are_refused(run, keep):
    run(epochs=2, keep=keep)
    with pytest.raises(TrainingError, match="has done 2 epochs; epochs=1 is less"):
        run(resume=True, epochs=1, keep=keep)


def test_a_full_disk_is_told_before_training_and_at_each_checkpoint(run, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(TrainingError, match=r"needs .* bytes, the disk has 1,000 free; make room first"):
            run()
    with monkeypatch.context() as patched:
        patched.setattr(checkpointing, "check_free_space", refuse_after(2))
        with pytest.raises(TrainingError, match=r"checkpoints' is full; resume=True goes on"):
            run(resume=True)
    assert_same_arrays(run(resume=True), run("whole"))


def refuse_after(times: int):
    def check(directory, size):
        nonlocal times
        times -= 1
        if times < 0:
            raise CheckpointError("is full")

    return check


def test_another_configuration_is_refused_on_resume_with_every_difference(run):
    run()
    with pytest.raises(TrainingError) as refusal:
        run(resume=True, batch_size=8, seed=3)
    assert str(refusal.value).splitlines()[1:] == [
        "  recipe.batch_size: 16, now 8",
        "  recipe.seed: 0, now 3",
    ]


def test_other_data_are_refused_on_resume(run, tmp_path, data, recipe):
    directory = run()
    other = tiny.write(data, train=80)
    with pytest.raises(TrainingError, match=r"other data; .*\n  data: 'train-images-idx3-ubyte' has other"):
        train("mlp_mnist", directory, recipe=recipe, data=data, dataset=other, resume=True)


def test_a_directory_with_something_else_is_refused(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    for resume in (False, True):
        with pytest.raises(TrainingError, match=r"holds 'thesis\.tex' but no run"):
            run(resume=resume)


def test_resuming_what_never_began_begins_it(run):
    assert rows(run("resumed", resume=True)) == rows(run("plain"))


def test_two_processes_do_not_train_in_one_directory(run, tmp_path, data, dataset, recipe):
    def intrude(epoch, measures):
        with pytest.raises(TrainingError, match="another process is training"):
            train("mlp_mnist", tmp_path / "run", recipe=recipe, data=data, dataset=dataset, resume=True)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train("mlp_mnist", tmp_path / "run", recipe=recipe, data=data, dataset=dataset, report=intrude)
    run(resume=True)


def test_the_best_epoch_on_held_back_examples_is_the_result(run, tmp_path):
    # So high a learning rate that later epochs are worse, or as good with a higher loss.
    directory = run(validation=32, epochs=5, learning_rate=3.0, decay="constant", average=0.0, keep=1)
    scores = {
        row["epoch"]: (row["validation_accuracy"], -row["validation_loss"])
        for row in rows(directory)
        if "validation_accuracy" in row
    }
    assert len(scores) == 5
    best = max(scores, key=scores.__getitem__)
    kept = sorted(path.name for path in (directory / "checkpoints").iterdir())
    assert kept == sorted({str(best), "5"})
    # A run to that epoch alone, of which the last is the result, ends with the same params.
    shorter = run("shorter", validation=32, epochs=best, learning_rate=3.0, decay="constant", average=0.0)
    assert_same_arrays(directory, shorter)


def test_a_loss_that_is_no_number_ends_the_run(run):
    with pytest.raises(
        TrainingError, match=r"the loss is nan after \d+ updates, in epoch 1; lower learning_rate \(1e\+30\)"
    ):
        run(learning_rate=1e30, clip_norm=0.0, warmup_steps=0)


def test_a_stopped_run_says_where_it_is_and_is_resumed_to_the_same_arrays(
    run, tmp_path, recipe, data, dataset
):
    def stop(now):
        seen.append(now)
        if (now.epoch, now.step) == (2, 0):
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt) as stopped:
        train("mlp_mnist", tmp_path / "run", recipe=recipe, data=data, dataset=dataset, progress=stop)
    assert stopped.value.__notes__ == [
        "stopped in epoch 2 of 3, after 0 of 6 updates; resume=True goes on after epoch 1."
    ]
    assert [str(each).split("  ")[0] for each in (seen[0], seen[-1])] == ["epoch 1/3", "epoch 2/3"]
    assert seen[0].loss is None
    assert all(each.loss > 0 for each in seen if each.step)
    assert "accuracy" in seen[-1].last
    assert_same_arrays(run(resume=True), run("whole"))


def test_fewer_examples_than_a_batch_are_refused(run):
    with pytest.raises(TrainingError, match="96 examples less 90 held back are no batch of 16"):
        run(validation=90)


def test_bad_data_are_refused_before_the_directory_is_touched(run, tmp_path, data):
    (data / "t10k-labels-idx1-ubyte").write_bytes(b"\0")
    with pytest.raises(DataError):
        run()
    assert not (tmp_path / "run").exists()


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(zoo.UnknownModelError):
        train("mlp_mnits", tmp_path / "run", recipe=RECIPES["mlp_mnist"])


ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.support import compilation
from tests.zoo.training import tiny
from zoo.training import find_recipe, train

data, directory = map(Path, sys.argv[1:])
recipe = replace(find_recipe("cnn_mnist"), epochs=8, batch_size=16, validation=16, keep=2)
train("cnn_mnist", directory, recipe=recipe, data=data, dataset=tiny.write(data), resume=True)
"""


def start(data: Path, directory: Path) -> subprocess.Popen:
    compiled_once = os.environ | compilation.shared_by_processes(data)
    command = [sys.executable, "-c", SCRIPT, str(data), str(directory)]
    return subprocess.Popen(command, cwd=ROOT, env=compiled_once)


def assert_same_arrays(one: Path, other: Path) -> None:
    weights = [(directory / "model.safetensors").read_bytes() for directory in (one, other)]
    assert weights[0] == weights[1]


def test_a_run_that_is_killed_twice_ends_as_one_that_is_not(data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(data, whole).wait() == 0
    seed = time.time_ns()
    moments = random.Random(seed)
    for last in (3, 6):
        process = start(data, killed)
        epoch = moments.randint(last - 2, last)
        while process.poll() is None and not has_rows_of(killed, epoch):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"ended by itself; seed {seed}"
        assert not (killed / "config.json").exists()
    assert start(data, killed).wait() == 0
    assert_same_arrays(whole, killed)
    assert (whole / "config.json").read_bytes() == (killed / "config.json").read_bytes()
    assert rows(whole) == rows(killed)
    for path in (whole / "checkpoints").iterdir():
        assert (killed / "checkpoints" / path.name).is_dir()


def has_rows_of(directory: Path, epoch: int) -> bool:
    return any(row["epoch"] == epoch for row in read_rows(directory / "metrics.jsonl"))
