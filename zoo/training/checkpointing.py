"""Orbax checkpoints of a run: one per epoch, written while the next epoch runs."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames
from types import TracebackType
from typing import Any, TypeAlias

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
    PreservationPolicy,
)

from converters.errors import CheckpointError
from converters.io import check_free_space
from zoo._errors import TrainingError
from zoo.training.state import TrainState

WHILE_TRAINING = 2  # checkpoints that are there even if none is to be kept: one may turn out to be damaged
# From an epoch's metrics to what is higher for a better one.
Score: TypeAlias = Callable[[Mapping[str, float]], tuple[float, ...]]
FULL = ("RESOURCE_EXHAUSTED", "No space left", "Disk quota exceeded", "File too large")


class Checkpoints:
    """The checkpoints in a directory: the last few and, where there is a score, the best one."""

    def __init__(self, directory: Path, *, keep: int, score: Score | None = None) -> None:
        self._directory = directory
        self._score = score
        self._count = keep or WHILE_TRAINING
        policies: list[PreservationPolicy] = [LatestN(self._count)]
        ranked: Any = score  # Orbax only compares; its annotation says float
        if score:
            policies.append(BestN(get_metric_fn=ranked, n=1))
        options = ocp.CheckpointManagerOptions(
            best_fn=ranked,  # without it Orbax does not store metrics
            preservation_policy=AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._refusing():
                self._manager.close()
        except TrainingError:
            if error is None:  # else that is what went wrong first
                raise

    def check_room(self, state: TrainState) -> None:
        """Checks that the disk has room for the checkpoints that will be there at a time.

        Raises:
            TrainingError: it has not.
        """
        # One more while the oldest is not yet removed.
        most = self._count + bool(self._score) + 1
        found = sum(path.stat().st_size for path in self._directory.rglob("*") if path.is_file())
        self._check_free(max(_bytes(state), most * _bytes(state) - found))

    @property
    def latest(self) -> int:
        """Returns the last epoch with a complete checkpoint; 0 if there is none."""
        return int(self._manager.latest_step() or 0)

    @property
    def best(self) -> int:
        """Returns the best epoch; of equally good ones the last, which is the one that Orbax keeps."""
        assert self._score is not None  # else none is the best
        self._manager.wait_until_finished()
        epochs: list[int] = self._manager.all_steps()
        measured = {epoch: self._manager.metrics(epoch) for epoch in epochs}
        # A run that was killed while it removed an old one has left a part of it.
        scores = {epoch: self._score(metrics) for epoch, metrics in measured.items() if metrics is not None}
        return max(scores, key=lambda epoch: (scores[epoch], epoch))

    def save(self, epoch: int, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Writes the state in the background, when the one before is written.

        Raises:
            TrainingError: this one or the one before cannot be written.
        """
        with self._refusing():
            self._manager.wait_until_finished()
            # Orbax's own threads would print a page each.
            self._check_free(_bytes(state))
            self._manager.save(epoch, args=ocp.args.StandardSave(state), metrics=dict(metrics))

    def restore(self, epoch: int, like: TrainState) -> TrainState:
        """Reads the state after an epoch, onto the devices of the arrays of `like`.

        Raises:
            TrainingError: the checkpoint cannot be read.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            state: TrainState = self._manager.restore(epoch, args=ocp.args.StandardRestore(shapes))
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(
                f"the checkpoint {str(self._directory / str(epoch))!r} cannot be read ({error}); "
                "remove that directory to continue from the checkpoint before it."
            ) from error
        return state

    def _check_free(self, size: int) -> None:
        try:
            check_free_space(self._directory, size)
        except CheckpointError as error:
            raise TrainingError(
                f"a checkpoint in {str(self._directory)!r} {error}; resume=True goes on."
            ) from error

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turns what Orbax raises into a refusal, and leaves out what it logs of it in pages."""
        log = logging.getLogger("absl")
        log.addFilter(_is_no_error)
        try:
            yield
        except (OSError, ValueError) as error:
            reason = str(error)
            if any(sign in reason for sign in FULL):
                reason = "the disk is full"
            # Coroutines in these frames would complain when Python ends.
            clear_frames(error.__traceback__)
            raise TrainingError(
                f"a checkpoint in {str(self._directory)!r} cannot be written ({reason}); make room, and "
                "resume=True goes on."
            ) from error
        finally:
            log.removeFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def _bytes(state: TrainState) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))
