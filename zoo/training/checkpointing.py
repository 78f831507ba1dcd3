"""Orbax checkpoints of a run: one per epoch, written while the next epoch runs."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
    PreservationPolicy,
)

from zoo._errors import TrainingError
from zoo.training.state import TrainState


class Checkpoints:
    """The checkpoints in a directory: the last few and, where `best` names a metric, the best one."""

    def __init__(self, directory: Path, *, keep: int, best: str | None, highest: bool) -> None:
        self._directory = directory
        self._best = best
        self._sign = 1 if highest else -1
        policies: list[PreservationPolicy] = [LatestN(keep)]
        if best:
            policies.append(BestN(get_metric_fn=self._score, n=1))
        options = ocp.CheckpointManagerOptions(
            best_fn=self._score if best else None,  # without it Orbax does not store metrics
            preservation_policy=AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.close()

    @property
    def latest(self) -> int:
        """Returns the last epoch with a complete checkpoint; 0 if there is none."""
        return int(self._manager.latest_step() or 0)

    @property
    def best(self) -> int:
        """Returns the best epoch; of equally good ones the last, which is the one that Orbax keeps."""
        self._manager.wait_until_finished()
        epochs: list[int] = self._manager.all_steps()
        measured = {epoch: self._manager.metrics(epoch) for epoch in epochs}
        # A run that was killed while it removed an old one has left a part of it.
        scores = {epoch: self._score(metrics) for epoch, metrics in measured.items() if metrics is not None}
        return max(scores, key=lambda epoch: (scores[epoch], epoch))

    def save(self, epoch: int, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Writes the state in the background."""
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

    def _score(self, metrics: Any) -> float:
        return self._sign * float(metrics[self._best])
