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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One call of a layer.

    Attributes:
        layer: Path of the Flax layer, joined by slashes; empty for the whole model.
        torch_name: Name of the torch module.
        output: Largest difference of its outputs; None where the two cannot be compared.
        inputs: Largest difference of its first input; None where the two cannot be compared.
        arrangement: Change of PyTorch's axes, in words; empty if there was none.
        shapes: Flax's and PyTorch's, where they do not fit.
        agrees_again: Where the outputs differ, but what comes of them does not: the layer that takes or
            gives the same numbers in both, or "the output". PyTorch's layer then does more or less than
            Flax's, such as an activation, and the model does it elsewhere. Empty otherwise.
    """

    layer: str
    torch_name: str
    output: Difference | None
    inputs: Difference | None = None
    arrangement: str = ""
    shapes: str = ""
    agrees_again: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that differs besides the outputs.

    Attributes:
        layer: Path of the Flax layer, joined by slashes; empty for the whole model.
        setting: Name of the setting that differs.
        flax: Value in the Flax module.
        torch: Value that would equal PyTorch's, as Flax writes it; empty if that is not a value.
    """

    layer: str
    setting: str
    flax: str
    torch: str = ""

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        wanted = f", for PyTorch's {self.torch}" if self.torch else ""
        return f"{where}{self.setting}: {self.flax}{wanted}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Outcome of `compare`; `print` shows it as a table.

    Attributes:
        rows: The layers that were compared, in the order in which Flax finished them.
        output: The value that the whole model returned.
        findings: Differing settings that the audit found, even if outputs do not show them.
        notes: Parts that could not be compared and why, and parts that are built differently.
        tolerance: Relative difference up to which outputs agree.
    """

    rows: tuple[Row, ...]
    output: Row
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    tolerance: float

    @property
    def first_divergence(self) -> Row | None:
        """Returns the first layer whose outputs differ; the whole model where only its output does."""
        return next((row for row in (*self.rows, self.output) if self.diverges(row)), None)

    @property
    def largest(self) -> Row:
        """Returns the row with the largest relative difference; of those that agree again none."""
        rows = [row for row in (*self.rows, self.output) if row.output and not row.agrees_again]
        return max(rows, key=lambda row: row.output.relative if row.output else 0.0)

    @property
    def ok(self) -> bool:
        """Returns whether the output and every layer agree, and the audit found nothing."""
        return self.first_divergence is None and not self.findings

    def diverges(self, row: Row) -> bool:
        """Returns whether a row's outputs differ beyond the tolerance, and so does what comes of them."""
        return row.output is not None and not row.output.relative <= self.tolerance and not row.agrees_again

    @property
    def summary(self) -> str:
        """Returns one or two sentences."""
        row = self.first_divergence
        if row is None:
            again = sum(bool(row.agrees_again) for row in self.rows)
            within = f"the output agree within {self.tolerance:g}"
            parts = f"; {again} more differ, and the numbers agree again after them" if again else ""
            return f"{len(self.rows) - again} calls of layers and {within}{parts}."
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
        yield from _section("Not compared, or built otherwise:", self.notes)

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
        again = f"agrees again at {row.agrees_again}" if row.agrees_again else ""
        mark = "<- first to diverge" if row is first else "; ".join(filter(None, (row.arrangement, again)))
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
