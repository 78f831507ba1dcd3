"""Scores against parameters as a picture: SVG in the page, whose colors are those of the theme."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape

from scripts.site.rows import Row

WIDTH, HEIGHT = 840, 440
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 48
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "plus", "ring", "bar")  # not by color alone
PATHS = {
    "circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "square": "M-3.5,-3.5h7v7h-7z",
    "diamond": "M0,-5L5,0L0,5L-5,0z",
    "triangle": "M0,-5L4.5,4H-4.5z",
    "cross": "M-4,-4L4,4M4,-4L-4,4",
    "plus": "M0,-5V5M-5,0H5",
    "ring": "M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z",
    "bar": "M-5,0H5",
    "dot": "M-2,0a2,2 0 1,0 4,0a2,2 0 1,0 -4,0z",
}


def svg(rows: Sequence[Row]) -> str:
    """Returns the figure of rows with a score, and a legend; others than the largest families are dots."""
    largest = [name for name, _ in Counter(row.family for row in rows).most_common(len(SHAPES))]
    shapes = dict(zip(largest, SHAPES, strict=True)) if len(largest) == len(SHAPES) else {}
    low, high = math.log10(min(r.params for r in rows)), math.log10(max(r.params for r in rows))
    bottom = 5 * math.floor(min(r.top1 or 0 for r in rows) / 5)

    def x(params: float) -> float:
        return LEFT + (math.log10(params) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(score: float) -> float:
        return HEIGHT - BOTTOM - (score - bottom) / (92 - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<path class="zoo-axis" d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>']
    for score in range(bottom, 91, 5):
        parts.append(f'<path class="zoo-grid" d="M{LEFT},{y(score):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(score) + 4:.1f}" text-anchor="end">{score}</text>')
    for params, label in ((1e6, "1 M"), (1e7, "10 M"), (1e8, "100 M"), (1e9, "1 G")):
        if low <= math.log10(params) <= high:
            parts.append(
                f'<path class="zoo-grid" d="M{x(params):.1f},{TOP}V{HEIGHT - BOTTOM}"/>'
                f'<text x="{x(params):.1f}" '
                f'y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>'
            )
    middle = (WIDTH + LEFT) // 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">parameters (logarithmic)</text>')
    parts.append(f'<text x="{LEFT + 8}" y="{TOP + 12}">ImageNet top-1, %</text>')
    for row in rows:
        shape = shapes.get(row.family, "dot")
        tip = f"{row.name}: {row.params / 1e6:,.1f} M parameters, {row.top1} %"
        parts.append(
            f'<path class="zoo-mark zoo-{shape}" '
            f'transform="translate({x(row.params):.1f},{y(row.top1 or 0):.1f})" '
            f'd="{PATHS[shape]}"><title>{escape(tip)}</title></path>'
        )
    label = (
        f"Top-1 accuracy on ImageNet of {len(rows)} models by their parameters; the table has all numbers."
    )
    figure = (
        f'<div class="zoo-scroll" tabindex="0" role="region" aria-label="Plot">'
        f'<svg class="zoo-plot" role="img" '
        f'aria-label="{label}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg></div>'
    )
    return f'{figure}\n<p class="zoo-legend">{"".join(_legend(shapes))}</p>'


def _legend(shapes: dict[str, str]) -> list[str]:
    return [
        f'<span><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        f'<path class="zoo-mark zoo-{shape}" d="{PATHS[shape]}"/></svg> {name}</span> '
        for name, shape in [*shapes.items(), ("others", "dot")]
    ]
