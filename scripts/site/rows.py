"""A line of the table of models for each entry of the manifest."""

import inspect
from dataclasses import dataclass

from zoo._registry import families
from zoo._registry.entry import Digits, Entry, Photos

TOP1 = "imagenet1k_val_top1"
BYTES_OF_A_PARAMETER = 4  # in float32, as nearly all files are


@dataclass(frozen=True)
class Row:
    """A row of the table of models.

    Attributes:
        name: Name that it is loaded by.
        family: Its architecture.
        task: The Hub's name of what it does.
        params: Number of parameters.
        size: Bytes of its file; estimated if `estimated`, None without weights.
        estimated: If true, the manifest has no size, and this is four bytes for each parameter.
        top1: Top-1 accuracy in percent on ImageNet's validation images; None where nobody has published it.
        scores: All scores, in words.
        input: The first input's height and width, or what it is.
        preprocess: Preprocessing of pictures, in a few words.
        license: License of the weights.
        place: Where the weights are.
    """

    name: str
    family: str
    task: str
    params: int
    size: int | None
    estimated: bool
    top1: float | None
    scores: str
    input: str
    preprocess: str
    license: str
    place: str


def row(entry: Entry) -> Row:
    """Returns the line of an entry."""
    known = entry.weights.size if entry.weights else None
    guess = entry.num_params * BYTES_OF_A_PARAMETER if entry.weights else None
    top1 = entry.metrics.get(TOP1)
    return Row(
        name=entry.name,
        family=entry.family or "",
        task=task(entry),
        params=entry.num_params,
        size=known or guess,
        estimated=bool(guess and not known),
        top1=None if top1 is None else round(100 * top1, 2),
        scores=", ".join(_score(name, value) for name, value in entry.metrics.items()),
        input=_input(entry),
        preprocess=_preprocess(entry.preprocess),
        license=entry.license or "none: untrained",
        place=str(entry.weights) if entry.weights else "untrained",
    )


def task(entry: Entry) -> str:
    """Returns the Hub's name of what an entry does, or "other"."""
    family = families.family(entry)
    keywords = inspect.signature(family.create).parameters
    if family.sample:
        return "image-generation"
    if entry.takes_tokens or family.tasks:
        if "head" not in keywords:
            return "other"
        return family.tasks.get(entry.config.get("head", keywords["head"].default), "feature-extraction")
    if "num_classes" not in keywords:
        return "other"
    classes = entry.config.get("num_classes", keywords["num_classes"].default)
    return "image-classification" if classes else "image-feature-extraction"


def _score(name: str, value: float) -> str:
    prefix = "imagenet1k_val_top"  # the one that nearly all have
    return (
        f"top-{name[len(prefix) :]} {100 * value:.2f} %" if name.startswith(prefix) else f"{name} {value:.4g}"
    )


def _input(entry: Entry) -> str:
    images = entry.images
    if images:
        return f"{images.shape[1]} x {images.shape[2]}"
    return "speech" if entry.takes_speech else "text"


def _preprocess(how: Digits | Photos | None) -> str:
    if how is None:
        return ""
    if isinstance(how, Digits):
        return f"gray, {how.ink} ink"
    parts = [
        f"{name} {_pixels(value)}" for name, value in (("resize", how.resize), ("crop", how.crop)) if value
    ]
    return ", ".join([*parts, how.interpolation])


def _pixels(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else " x ".join(map(str, size))


def megabytes(of: Row) -> str:
    """Returns the size of a file for people."""
    if of.size is None:
        return ""
    size = of.size / 1e6
    return (
        f"{'≈ ' if of.estimated else ''}{size:,.0f} MB"
        if size >= 10
        else f"{'≈ ' if of.estimated else ''}{size:.1f} MB"
    )
