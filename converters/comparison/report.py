"""Report of `compare`, and its form in print."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

WIDTH = 110  # of the text; a terminal uses its own width


@dataclass(frozen=True)
class Difference:
    """Between the numbers of both frameworks; `relative` is to PyTorch's largest magnitude."""

    absolute: float
    relative: float


@dataclass(frozen=True)
class Row:
    """One call of a layer.

    Attributes:
        layer: path of the Flax layer, joined by slashes; empty for the whole model.
        torch_name: of the torch module.
        output: the largest difference of its outputs; None where the two cannot be compared.
        inputs: of its first input; None where the two cannot be compared.
        arrangement: what was done to PyTorch's axes, in words; empty where nothing was.
        shapes: Flax's and PyTorch's, where they do not fit.
    """

    layer: str
    torch_name: str
    output: Difference | None
    inputs: Difference | None = None
    arrangement: str = ""
    shapes: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that differs besides the outputs.

    Attributes:
        layer: path of the Flax layer, joined by slashes; empty for the whole model.
        setting: what differs.
        flax: how it is.
        torch: how it would have to be to equal PyTorch, as Flax writes it; empty where that is not a value.
    """

    layer: str
    setting: str
    flax: str
    torch: str = ""

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        wanted = f", for PyTorch's {self.torch}" if self.torch else ""
        return f"{where}{self.setting}: {self.flax}{wanted}"


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`; `print` shows it as a table.

    Attributes:
        rows: the layers in the order in which Flax finished them.
        output: the value that the whole model returned.
        findings: what the audit found to differ, whether or not outputs show it.
        notes: what could not be compared.
        tolerance: the relative difference up to which outputs agree.
    """

    rows: tuple[Row, ...]
    output: Row
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    tolerance: float

    @property
    def first_divergence(self) -> Row | None:
        """The first layer whose outputs differ; the whole model where only its output does."""
        return next((row for row in (*self.rows, self.output) if self.diverges(row)), None)

    @property
    def largest(self) -> Row:
        """The row with the largest relative difference."""
        rows = [row for row in (*self.rows, self.output) if row.output]
        return max(rows, key=lambda row: row.output.relative if row.output else 0.0)

    @property
    def ok(self) -> bool:
        """Every layer and the output agree, and the audit found nothing."""
        return self.first_divergence is None and not self.findings

    def diverges(self, row: Row) -> bool:
        """Returns whether a row's outputs differ by more than the tolerance."""
        return row.output is not None and not row.output.relative <= self.tolerance

    @property
    def summary(self) -> str:
        """One or two sentences."""
        row = self.first_divergence
        if row is None:
            return f"{len(self.rows)} calls of layers and the output agree within {self.tolerance:g}."
        place = row.layer or "the output"
        if row.inputs is None:
            return f"{place} is the first to diverge."
        if row.inputs.relative <= self.tolerance:
            return f"{place} is the first to diverge; its inputs agree: look at its arrays and settings."
        return (
            f"{place} is the first to diverge; its inputs differ already: look at what {self._between(row)}."
        )

    def _between(self, row: Row) -> str:
        before = self.rows[self.rows.index(row) - 1].layer if row in self.rows[1:] else "the start"
        return f"happens between {before} and {row.layer}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _table(self)
        yield escape(self.summary)
        yield from _section("Differs besides the outputs:", self.findings)
        yield from _section("Not compared:", self.notes)

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=WIDTH, color_system=None).print(self)
        return text.getvalue()


def _section(title: str, lines: tuple[object, ...]) -> Iterator[str]:
    if lines:
        yield "\n".join((f"\n{title}", *(escape(f"  {line}") for line in lines)))


def _table(comparison: Comparison) -> Table:
    table = Table("layer", "PyTorch", box=None, pad_edge=False)
    for title in ("absolute", "relative"):
        table.add_column(title, justify="right")
    table.add_column("")
    first = comparison.first_divergence
    for row in (*comparison.rows, comparison.output):
        figures = (f"{row.output.absolute:.1e}", f"{row.output.relative:.1e}") if row.output else ("", "")
        mark = "<- first to diverge" if row is first else row.arrangement
        bad = comparison.diverges(row)
        names = (row.layer, row.torch_name) if row is not comparison.output else ("(output)", "")
        cells = (*names, *figures, "; ".join(part for part in (mark, row.shapes) if part))
        table.add_row(*map(escape, cells), style="red" if bad else "")
    return table


def difference(flax: np.ndarray, torch: np.ndarray) -> Difference:
    """Returns the largest difference of two arrays of one shape; NaN and infinity equal themselves only."""
    if not torch.size:
        return Difference(0.0, 0.0)
    if torch.dtype.kind != "c":
        flax, torch = flax.astype(np.float64), torch.astype(np.float64)  # bools cannot be subtracted
    same = (flax == torch) | (np.isnan(flax) & np.isnan(torch))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(flax - torch))
    absolute = float(np.where(np.isnan(gap), np.inf, gap).max())
    scale = float(np.abs(torch[np.isfinite(torch)]).max(initial=0.0))
    return Difference(absolute, absolute / scale if scale else (np.inf if absolute else 0.0))
