"""A picture of how a run went."""

import io
from pathlib import Path

from converters._files import atomic_write
from zoo._errors import TrainingError
from zoo.training._directory import CURVES, METRICS
from zoo.training.metrics import read_rows


def draw_curves(directory: Path) -> Path:
    """Writes curves.png into a run's directory: each metric over the updates, held-out ones beside them.

    Raises:
        TrainingError: matplotlib is not installed, or the run has no metrics yet.
    """
    rows = [row for row in read_rows(directory / METRICS) if "step" in row]
    if not rows:
        raise TrainingError(f"{str(directory)!r} has no metrics to draw; train first.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError("curves need matplotlib; install 'flax-zoo[plot]'.") from error
    names = [name for name in rows[0] if name not in ("epoch", "step")]
    figure = Figure(figsize=(4.5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for series, style in ((name, "-"), (f"validation_{name}", "o-")):
            points = [(row["step"], row[series]) for row in rows if series in row]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=series.replace("_", " "), markersize=3)
        axes.set_title(name)
        axes.set_xlabel("updates")
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    with atomic_write(directory / CURVES, overwrite=True) as file:
        file.write(picture.getvalue())
    return directory / CURVES
