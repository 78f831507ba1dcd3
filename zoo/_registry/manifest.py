"""The registry, weights_manifest.yaml: what it may say, and reading it strictly.

A directory that `zoo.save` wrote has one entry of the same form in its config.json.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from converters.errors import CheckpointError
from converters.io.files import InputFile, named_errors
from zoo._errors import ManifestError
from zoo._registry import packaged, schema, strict_yaml
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

MAX_SIZE = 1_000_000
CONFIG = "config.json"

Problems: TypeAlias = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Manifest:
    """Every model by name."""

    models: Mapping[str, Entry]
    model_types: Mapping[str, str] = field(default_factory=FrozenMapping)  # of the Hub -> families


# What shapes of single fields cannot say: which of them go together.

PLACES = ("file", "repo", "revision", "url")


def _place(weights: schema.Fields) -> Problems:
    given = [name for name in PLACES if weights[name] is not None]
    if given not in (["file"], ["file", "repo", "revision"], ["url"]):
        found = ", ".join(given) or "none of them"
        yield "", f"expected file, or repo + revision + file, or url; found {found}"
    if given == ["file"] and weights["size"] is None:
        yield "size", "missing"


def _hash(weights: schema.Fields) -> Problems:
    sha256, prefix = weights["sha256"], re.search(r"-([0-9a-f]{8})\.\w+$", weights["url"] or "")
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
    if photos["crop"] > photos["resize"]:
        yield "crop", f"expected at most resize, {photos['resize']}, found {photos['crop']}"


def _colours(photos: schema.Fields) -> Problems:
    mean, std = (photos[name] or getattr(Photos, name) for name in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or not all(each > 0 for each in std):
        yield "", "expected three numbers as mean, and three above 0 as std"


INPUT = schema.record(
    Input,
    {"name": schema.IDENTIFIER, "shape": schema.sequence(schema.integer(1)), "dtype": schema.DTYPE},
    required=("name", "shape", "dtype"),
)
WEIGHTS = schema.record(
    Weights,
    {
        "sha256": schema.text(r"[0-9a-f]{8,64}|unattested", "64 lower-case hexadecimal digits"),
        "size": schema.integer(1),
        "file": schema.text(r"\w[\w.-]*(/\w[\w.-]*)*", "a plain file name"),
        "repo": schema.text(r"\w[\w.-]*/\w[\w.-]*", "a repository as owner/name"),
        "revision": schema.text(r"[0-9a-f]{40}", "a commit, 40 lower-case hexadecimal digits"),
        "url": schema.text(r"(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s@]+", "an https address"),
    },
    required=("sha256",),
    rules=(_place, _hash),
)
DIGITS = schema.record(Digits, {"ink": schema.text("light", "'light'")}, required=("ink",))
PHOTOS = schema.record(
    Photos,
    {
        "resize": schema.integer(1),
        "crop": schema.integer(1),
        "interpolation": schema.text("bilinear|bicubic", "'bilinear' or 'bicubic'"),
        "mean": schema.sequence(schema.number),
        "std": schema.sequence(schema.number),
    },
    required=("resize", "crop", "interpolation"),
    rules=(_crop, _colours),
)


def _preprocess(value: Any, path: str, problems: list[str]) -> Preprocess:
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
    "paper": schema.text(r"https?://\S+", "an address"),
    "metrics": schema.mapping(schema.IDENTIFIER, schema.number, FrozenMapping),
    "preprocess": _preprocess,
    "classes": schema.IDENTIFIER,
    "labels": schema.sequence(schema.TEXT),
}
NAME = schema.text(r"[a-z0-9][a-z0-9._-]*", "a lower-case name")
# What can differ between several published weights of one model.
TAGGED = ("config", "weights", "layout", "license", "source", "paper", "metrics", "preprocess")


@dataclass(frozen=True)
class _Versions:
    """A model of the manifest: its fields, and those of each of its published weights, by their tags.

    The plain name has the weights of the `default` tag; without one, those of the model's own fields.
    """

    fields: Mapping[str, Any]
    tags: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default: str | None = None

    def entries(self, name: str) -> dict[str, Entry]:
        """By the names that they are loaded by: `name` and `name.tag`."""
        plain = {name: self.tags.get(self.default or "", {})}
        tagged = {f"{name}.{tag}": fields for tag, fields in self.tags.items()}
        return {name: Entry(name, **{**self.fields, **own}) for name, own in {**plain, **tagged}.items()}


def _versions(
    *, tags: Mapping[str, Any] | None = None, default: str | None = None, **fields: Any
) -> _Versions:
    return _Versions(fields, tags or {}, default)


def _default(model: schema.Fields) -> Problems:
    tags = model["tags"] or {}
    if model["default"] and model["default"] not in tags:
        yield "default", f"no tag {model['default']!r}; the tags are {', '.join(tags) or 'none'}"


def _of_each(rule: schema.Rule) -> schema.Rule:
    """A rule of entries, for each that a model of the manifest makes."""

    def rule_of_model(model: schema.Fields) -> Problems:
        tags = model["tags"] or {}
        yield from rule(model.replaced(tags.get(model["default"], {})))
        for tag, own in tags.items():
            yield from ((f"tags.{tag}.{key}", text) for key, text in rule(model.replaced(own)))

    return rule_of_model


VERSIONS_RULES = (_default, _of_each(_inputs), _of_each(_belongs_to_weights))


def _models(value: Any, path: str, problems: list[str]) -> Any:
    """Each entry under the name that it is loaded by."""
    required = ("family", "config", "inputs", "num_params", "license", "source")
    tag = schema.record(dict, {name: FIELDS[name] for name in TAGGED}, required=("weights",))
    fields = {**FIELDS, "tags": schema.mapping(NAME, tag, dict), "default": NAME}
    model = schema.record(_versions, fields, required=required, rules=VERSIONS_RULES)
    models = schema.mapping(NAME, model, dict)(value, path, problems)
    counts = Counter(_names(value))
    problems.extend(f"{path}.{name}: is the name of two models" for name in counts if counts[name] > 1)
    made = [] if problems else [versions.entries(name) for name, versions in models.items()]
    return FrozenMapping({name: entry for entries in made for name, entry in entries.items()})


def _names(models: Any) -> Iterator[str]:
    """The names that models would be loaded by, whatever else is wrong with them."""
    for name, model in models.items() if isinstance(models, dict) else ():
        tags = model.get("tags") if isinstance(model, dict) else None
        yield from (name, *(f"{name}.{tag}" for tag in tags or () if isinstance(tags, dict)))


MODEL_TYPES = schema.mapping(schema.IDENTIFIER, schema.IDENTIFIER, FrozenMapping)
MANIFEST = schema.record(Manifest, {"models": _models, "model_types": MODEL_TYPES}, required=("models",))
SAVED = schema.record(
    Entry,
    {"name": schema.TEXT, **FIELDS},
    required=("name", "num_params", "weights"),
    rules=(_inputs, _belongs_to_weights),
)


def read(path: Path | None = None) -> Manifest:
    """The manifest in a file, or the one that comes with the package.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    manifest: Manifest = _packaged() if path is None else _checked(path, _content(path), MANIFEST)
    return manifest


def read_saved(directory: Path) -> Entry:
    """The entry in the config.json of a directory that `zoo.save` wrote.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    return parse_saved(directory / CONFIG, read_config(directory))


def read_config(directory: Path) -> bytes:
    """The content of a directory's config.json."""
    return _content(directory / CONFIG)


def parse_saved(path: Path, content: bytes) -> Entry:
    """The entry in the content of such a config.json; messages blame the path."""
    # JSON is YAML: one reader finds duplicate keys and the like in both.
    entry: Entry = _checked(path, content, SAVED)
    return entry


@cache
def _packaged() -> Manifest:
    path = packaged.manifest_path()
    manifest: Manifest = _checked(path, _content(path), MANIFEST)
    return manifest


def _checked(path: Path, content: bytes, check: schema.Check) -> Any:
    problems: list[str] = []
    value = strict_yaml.read(content, problems)
    # Nothing to check where the file as a whole was unreadable.
    if value is not None or not problems:
        value = check(value, "", problems)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{str(path)!r} breaks its schema:{lines}")
    return value


def _content(path: Path) -> bytes:
    try:
        with named_errors(path):
            file = InputFile(path)
            if file.size > MAX_SIZE:
                raise CheckpointError(f"has {file.size:,} bytes; the limit is {MAX_SIZE:,}")
            return file.read(0, file.size)
    except CheckpointError as error:
        raise ManifestError(str(error)) from error
