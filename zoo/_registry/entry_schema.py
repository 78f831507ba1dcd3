"""The schema of an entry, in the manifest and in the config.json that `zoo.save` writes.

Needs the standard library only, as manifest_schema.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from zoo._registry import schema
from zoo._registry.entry import (
    UNATTESTED,
    Digits,
    Entry,
    FrozenMapping,
    Input,
    Photos,
    Preprocess,
    Weights,
)

Problems: TypeAlias = Iterator[tuple[str, str]]

# What shapes of single fields cannot say: which of them go together.

URL_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # first digits of the hash, as torchvision names files

PLACES = ("file", "repo", "revision", "url")


def _place(weights: schema.Fields) -> Problems:
    given = [name for name in PLACES if weights[name] is not None]
    if given not in (["file"], ["file", "repo", "revision"], ["url"]):
        found = ", ".join(given) or "none of them"
        yield "", f"expected file, or repo + revision + file, or url; found {found}"
    if given == ["file"] and weights["size"] is None:
        yield "size", "missing"


def _hash(weights: schema.Fields) -> Problems:
    sha256, prefix = weights["sha256"], URL_HASH.search(weights["url"] or "")
    if sha256 == UNATTESTED:
        if prefix or not (weights["url"] or weights["repo"]):
            yield "sha256", "expected the hash, found 'unattested'"
    elif not sha256.strip("0"):
        yield "sha256", "expected the hash, found zeros"
    elif len(sha256) < 64 and not prefix:
        yield "sha256", f"expected 64 hexadecimal digits, found {len(sha256)}"
    elif prefix and not sha256.startswith(prefix[1]):
        yield "sha256", f"expected {prefix[1]}... as the url says, found {sha256}"


def _inputs(entry: schema.Fields) -> Problems:
    if entry["family"] and not entry["inputs"]:
        # Without them, nothing would compare the weights with the module.
        yield "inputs", "expected one or more, found none"


def _belongs_to_weights(entry: schema.Fields) -> Problems:
    for name in ("layout", "metrics"):
        if entry[name] and not entry["weights"]:
            yield name, "is there without weights; leave it out, or say where the weights are"


def _crop(photos: schema.Fields) -> Problems:
    resize, crop = photos["resize"], photos["crop"]
    if isinstance(resize, int) and isinstance(crop, int) and crop > resize:
        yield "crop", f"expected at most resize, {resize}, found {crop}"


def _colors(photos: schema.Fields) -> Problems:
    mean, std = (photos[name] or getattr(Photos, name) for name in ("mean", "std"))
    if len(mean) not in (1, 3) or len(std) != len(mean) or not all(each > 0 for each in std):
        yield "", "expected three numbers as mean, or one, and as many above 0 as std"


def _side(value: Any, path: str, problems: list[str]) -> Any:
    """Checks a number of pixels, or a height and a width."""
    if not isinstance(value, list):
        return schema.integer(1)(value, path, problems)
    if len(value) != 2:
        problems.append(
            f"{path}: expected a number of pixels, or height and width, found {len(value)} numbers"
        )
    return schema.sequence(schema.integer(1))(value, path, problems)


RULES = (_inputs, _belongs_to_weights)  # of an entry as a whole
INPUT = schema.record(
    Input,
    {"name": schema.IDENTIFIER, "shape": schema.sequence(schema.integer(1)), "dtype": schema.DTYPE},
    required=("name", "shape", "dtype"),
)
URL = schema.text(r"(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s@]+", "an https address")
WEIGHTS = schema.record(
    Weights,
    {
        "sha256": schema.text(r"[0-9a-f]{8,64}|unattested", "64 lower-case hexadecimal digits"),
        "size": schema.integer(1),
        "file": schema.text(r"\w[\w.-]*(/\w[\w.-]*)*", "a plain file name"),
        "repo": schema.text(r"\w[\w.-]*/\w[\w.-]*", "a repository as owner/name"),
        "revision": schema.text(
            r"[0-9a-f]{40}|unattested", "a commit, 40 lower-case hexadecimal digits, or 'unattested'"
        ),
        "url": URL,
    },
    required=("sha256",),
    rules=(_place, _hash),
)
DIGITS = schema.record(Digits, {"ink": schema.text("light", "'light'")}, required=("ink",))
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # as Pillow numbers them
PHOTOS = schema.record(
    Photos,
    {
        "resize": _side,
        "crop": _side,
        "interpolation": schema.text("|".join(FILTERS), f"one of {', '.join(FILTERS)}"),
        "mean": schema.sequence(schema.number),
        "std": schema.sequence(schema.number),
        "rounding": schema.text("nearest|floor", "'nearest' or 'floor'"),
    },
    required=("interpolation",),
    rules=(_crop, _colors),
)


def check_preprocess(value: Any, path: str, problems: list[str]) -> Preprocess:
    """Checks how pictures become a model's input."""
    check = DIGITS if isinstance(value, dict) and "ink" in value else PHOTOS
    checked: Preprocess = check(value, path, problems)
    return checked


FIELDS = {
    "family": schema.IDENTIFIER,
    "config": schema.mapping(schema.IDENTIFIER, schema.anything, FrozenMapping),
    "inputs": schema.sequence(INPUT),
    "num_params": schema.integer(0),
    "weights": WEIGHTS,
    "layout": schema.IDENTIFIER,
    "license": schema.TEXT,
    "source": schema.TEXT,
    "base_model": schema.TEXT,
    "paper": schema.text(r"https?://\S+", "an address"),
    "metrics": schema.mapping(schema.IDENTIFIER, schema.number, FrozenMapping),
    "preprocess": check_preprocess,
    "classes": schema.IDENTIFIER,
    "labels": schema.sequence(schema.TEXT),
    "scores": schema.text("softmax|sigmoid|identity|tanh", "'softmax', 'sigmoid', 'identity' or 'tanh'"),
    "generation": schema.mapping(schema.IDENTIFIER, schema.anything, FrozenMapping),
}
SAVED = schema.record(
    Entry,
    {"name": schema.TEXT, **FIELDS},
    required=("name", "num_params", "weights"),
    rules=RULES,
)
