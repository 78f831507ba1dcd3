"""A look into a run while it trains: its progress, a loss that is not finite, where a signal stopped it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zoo._errors import TrainingError
from zoo._processes import is_primary
from zoo._progress import StepsReport, steps_bar
from zoo._registry.recipes import Recipe


class Progress(NamedTuple):
    """A moment of an epoch.

    Attributes:
        epoch: The epoch, counted from 1.
        epochs: Number of epochs of the run.
        step: Number of the epoch's updates so far.
        steps: Number of updates of an epoch.
        loss: Mean loss of these updates; None before the first.
        examples_per_second: Examples trained on in a second lately; None while the first update compiles.
        last: Measures at the end of the last finished epoch, as `report` gets them; empty in the first.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None = None
    examples_per_second: float | None = None
    last: Mapping[str, float] = MappingProxyType({})

    def __str__(self) -> str:
        measures = {"loss": self.loss, **{name: each for name, each in self.last.items() if name != "loss"}}
        shown = [f"{name} {value:.4f}" for name, value in measures.items() if value is not None]
        rate = self.examples_per_second
        speed = "compiling" if rate is None and not self.step else f"{rate:,.0f} examples/s" if rate else ""
        return "  ".join(each for each in (f"epoch {self.epoch}/{self.epochs}", *shown, speed) if each)


Follow: TypeAlias = Callable[[Progress], None]


@contextmanager
def shown(label: str, follow: Follow | None) -> Iterator[Follow]:
    """Yields `follow`, or without one what shows a bar of the run's updates, from one process."""
    if follow is not None or not is_primary():
        yield follow or (lambda now: None)
        return
    show: StepsReport | None = None
    with ExitStack() as opened:

        def draw(now: Progress) -> None:
            nonlocal show
            done = (now.epoch - 1) * now.steps + now.step
            # Not before the number of updates is known.
            show = show or opened.enter_context(steps_bar(label, now.epochs * now.steps, start=done))
            show(done, str(now))

        yield draw


class Watcher:
    """Follows the updates of a run's epochs.

    Attributes:
        now: The last moment that was seen.
    """

    def __init__(self, recipe: Recipe, steps: int, follow: Follow) -> None:
        self._recipe = recipe
        self._follow = follow
        self._seen = 0.0
        self.now = Progress(epoch=1, epochs=recipe.epochs, step=0, steps=steps)

    def begin(self, epoch: int) -> None:
        """Turns to an epoch, before its first update."""
        self._see(epoch=epoch, step=0, loss=None)

    def end(self, measures: Mapping[str, float]) -> None:
        """Takes the measures of an epoch that is finished."""
        self._see(last=measures)

    def __call__(self, step: int, measures: Mapping[str, np.ndarray]) -> None:
        """Looks at the measures of the epoch's updates so far.

        Raises:
            TrainingError: a loss is not finite.
        """
        loss, time_now = measures["loss"], time.monotonic()
        self._check_finite(loss)
        if self.now.step:  # the first time is that of compilation, too
            made = (step - self.now.step) * self._recipe.batch_size
            self.now = self.now._replace(examples_per_second=made / max(time_now - self._seen, 1e-6))
        self._seen = time_now
        self._see(step=step, loss=float(loss.mean(dtype=np.float64)))

    def _see(self, **changes: Any) -> None:
        self.now = self.now._replace(**changes)
        self._follow(self.now)

    @contextmanager
    def note_stop(self) -> Iterator[None]:
        """Adds to what ends the block, such as Ctrl-C, where the run is and how it goes on."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            now = self.now
            whence = f"after epoch {now.epoch - 1}" if now.epoch > 1 else "at its beginning"
            stop.add_note(
                f"stopped in epoch {now.epoch} of {now.epochs}, after {now.step:,} of {now.steps:,} updates; "
                f"resume=True goes on {whence}."
            )
            raise

    def _check_finite(self, loss: np.ndarray) -> None:
        wrong = np.flatnonzero(~np.isfinite(loss))
        if not len(wrong):
            return
        epoch, first = self.now.epoch, int(wrong[0])
        updates = (epoch - 1) * self.now.steps + first + 1
        kept = f"; the checkpoint after epoch {epoch - 1} stays" if epoch > 1 else ""
        raise TrainingError(
            f"the loss is {loss[first]} after {updates:,} updates, in epoch {epoch}; lower learning_rate "
            f"({self._recipe.learning_rate:g}), or set clip_norm, in a new directory or with "
            f"overwrite=True{kept}."
        )
