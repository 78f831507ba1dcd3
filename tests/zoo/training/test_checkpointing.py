import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zoo.training import TrainingError, TrainState
from zoo.training.checkpointing import Checkpoints


def state(value: float) -> TrainState:
    variables = {"params": {"a": jnp.full(3, value)}, "batch_stats": {"b": jnp.full(2, value)}}
    made = TrainState.create(variables, optax.adamw(1e-3), average=True, seed=7)
    return made.replace(step=jnp.int32(value))


def kept(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_state_comes_back_as_it_was(tmp_path):
    with Checkpoints(tmp_path, keep=1, score=None) as checkpoints:
        assert checkpoints.latest == 0
        checkpoints.save(1, state(1.5), {})
    with Checkpoints(tmp_path, keep=1, score=None) as checkpoints:
        assert checkpoints.latest == 1
        restored = checkpoints.restore(1, state(0.0))
    assert isinstance(restored, TrainState)
    jax.tree.map(np.testing.assert_array_equal, restored, state(1.5))


@pytest.mark.parametrize(
    ("highest", "best", "left"), [(True, 4, ["4", "5", "6"]), (False, 3, ["3", "5", "6"])]
)
def test_the_last_ones_and_the_best_are_kept_and_the_later_of_two_equal(tmp_path, highest, best, left):
    with Checkpoints(
        tmp_path, keep=2, score=lambda metrics: (metrics["score"] if highest else -metrics["score"],)
    ) as checkpoints:
        for epoch, score in enumerate([1.0, 3.0, 1.0, 3.0, 2.0, 2.0], start=1):
            checkpoints.save(epoch, state(epoch), {"score": score})
        assert checkpoints.best == best
    assert kept(tmp_path) == left


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    with Checkpoints(tmp_path, keep=2, score=None) as checkpoints:
        checkpoints.save(1, state(1.0), {})
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path, keep=2, score=None) as checkpoints:
        assert checkpoints.latest == 1
        checkpoints.save(2, state(2.0), {})
    assert kept(tmp_path) == ["1", "2"]


def test_what_was_being_removed_when_a_process_was_killed_is_not_the_best(tmp_path):
    with Checkpoints(tmp_path, keep=3, score=lambda metrics: (metrics["score"],)) as checkpoints:
        for epoch in (1, 2, 3):
            checkpoints.save(epoch, state(epoch), {"score": 1.0 / epoch})
    shutil.rmtree(tmp_path / "1" / "metrics")
    (tmp_path / "1" / "_CHECKPOINT_METADATA").unlink()
    with Checkpoints(tmp_path, keep=3, score=lambda metrics: (metrics["score"],)) as checkpoints:
        assert checkpoints.best == 2


@pytest.mark.parametrize("where", ["save", "wait_until_finished"])
def test_what_cannot_be_written_is_refused_in_one_sentence(where, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing ... [os_error_code='28']")

    with (
        Checkpoints(tmp_path, keep=0, score=None) as checkpoints,
        monkeypatch.context() as failing,
    ):
        failing.setattr(checkpoints._manager, where, fail)
        with pytest.raises(TrainingError, match=r"cannot be written \(the disk is full\); make room, and"):
            checkpoints.save(1, state(1.0), {})


def test_a_damaged_checkpoint_is_named(tmp_path):
    with Checkpoints(tmp_path, keep=2, score=None) as checkpoints:
        checkpoints.save(1, state(1.0), {})
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.stat().st_size and "default" in path.parts:
            path.write_bytes(b"\0" * 10)
    with (
        Checkpoints(tmp_path, keep=2, score=None) as checkpoints,
        pytest.raises(TrainingError, match=r"cannot be read.*remove that directory"),
    ):
        checkpoints.restore(1, state(0.0))
