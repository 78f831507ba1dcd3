"""The schema of weights_manifest.yaml: models, their tags, and the defaults of families.

Needs the standard library and PyYAML only: the wheel is built with it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo._errors import ManifestError
from zoo._registry import schema, strict_yaml
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.entry_schema import FIELDS, RULES, Problems


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Every model by name.

    Attributes:
        models: The entries, tagged ones included.
        families: Defaults of each family's entries, as they were checked.
        model_types: The Hub's `model_type` -> family.
        pretrained: The names that have weights.
    """

    models: Mapping[str, Entry]
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=FrozenMapping)
    model_types: Mapping[str, str] = field(default_factory=FrozenMapping)
    pretrained: frozenset[str] = frozenset()


NAME = schema.text(r"[a-z0-9][a-z0-9._-]*", "a lower-case name")
# Fields that `families:` may hold defaults of.
DEFAULTS = ("inputs", "layout", "license", "paper", "classes")
# Those that an entry can do without: `classes: null` says that it has none, whatever its family's default is.
WITHOUT = {name: schema.or_null(FIELDS[name]) for name in ("layout", "paper", "classes")}
# What can differ between several published weights of one model.
TAGGED = ("config", "weights", "layout", "license", "source", "paper", "metrics", "preprocess")


@dataclass(frozen=True, kw_only=True)
class _Versions:
    """A model of the manifest: its fields, and those of each of its published weights, by their tags.

    The plain name has the weights of the `default` tag; without one, those of the model's own fields.
    """

    layout: str | None  # the family's, of weights of which nothing else is said
    fields: Mapping[str, Any]
    tags: Mapping[str, Mapping[str, Any]]
    default: str | None

    def entries(self, name: str) -> dict[str, Entry]:
        """Returns the entries by the names that they are loaded by: `name` and `name.tag`."""
        plain = {name: self.tags.get(self.default or "", {})}
        tagged = {f"{name}.{tag}": fields for tag, fields in self.tags.items()}
        return {name: self._entry(name, own) for name, own in {**plain, **tagged}.items()}

    def _entry(self, name: str, own: Mapping[str, Any]) -> Entry:
        fields = {**self.fields, **own}
        return Entry(name, **({"layout": self.layout} if "weights" in fields else {}) | fields)


def _versions(
    layout: str | None, /, *, tags: Mapping[str, Any] | None = None, default: str | None = None, **fields: Any
) -> _Versions:
    return _Versions(layout=layout, fields=fields, tags=tags or {}, default=default)


def _default(model: schema.Fields) -> Problems:
    tags = model["tags"] or {}
    if model["default"] and model["default"] not in tags:
        yield "default", f"no tag {model['default']!r}; the tags are {', '.join(tags) or 'none'}"


def _of_each(rule: schema.Rule) -> schema.Rule:
    """Returns a rule of models, which applies a rule of entries to each entry of the model."""

    def rule_of_model(model: schema.Fields) -> Problems:
        tags = model["tags"] or {}
        yield from rule(model.replaced(tags.get(model["default"], {})))
        for tag, own in tags.items():
            yield from ((f"tags.{tag}.{key}", text) for key, text in rule(model.replaced(own)))

    return rule_of_model


VERSIONS_RULES = (_default, *map(_of_each, RULES))


REQUIRED = ("family", "config", "inputs", "num_params", "license", "source")
TAG = schema.record(dict, {name: {**FIELDS, **WITHOUT}[name] for name in TAGGED}, required=("weights",))
MODEL = {**FIELDS, **WITHOUT, "tags": schema.mapping(NAME, TAG, dict), "default": NAME}
FAMILY = schema.record(dict, {name: FIELDS[name] for name in DEFAULTS}, required=())
FAMILIES = schema.mapping(schema.IDENTIFIER, FAMILY, FrozenMapping)


def _model(defaults: Mapping[str, Mapping[str, Any]], value: Any, path: str, problems: list[str]) -> Any:
    """Checks a model, whose family may have defaults."""
    family = value.get("family") if isinstance(value, dict) else None
    others = dict(defaults.get(family, {})) if isinstance(family, str) else {}
    build = partial(_versions, others.pop("layout", None))
    check = schema.record(build, MODEL, required=REQUIRED, rules=VERSIONS_RULES, defaults=others)
    return check(value, path, problems)


def _models(defaults: Mapping[str, Mapping[str, Any]], value: Any, path: str, problems: list[str]) -> Any:
    """Checks the models; returns each entry under the name that it is loaded by."""
    before = len(problems)
    models = schema.mapping(NAME, partial(_model, defaults), dict)(value, path, problems)
    counts = Counter(_names(value))
    problems.extend(f"{path}.{name}: is the name of two models" for name in counts if counts[name] > 1)
    made = [] if len(problems) > before else [versions.entries(name) for name, versions in models.items()]
    return FrozenMapping({name: entry for entries in made for name, entry in entries.items()})


def _defaults(families: Any) -> dict[str, dict[str, Any]]:
    """Returns each family's defaults once checked; a wrong one is there, too, but not its value."""
    found: dict[str, dict[str, Any]] = {}
    for family, fields in families.items() if isinstance(families, dict) else ():
        found[family] = {}
        for name in DEFAULTS if isinstance(fields, dict) else ():
            problems: list[str] = []
            value = FIELDS[name](fields[name], name, problems) if name in fields else None
            if name in fields:
                found[family][name] = schema.WRONG if problems else value
    return found


def _names(models: Any) -> Iterator[str]:
    """Yields the names of all entries, even of models with other problems."""
    for name, model in models.items() if isinstance(models, dict) else ():
        tags = model.get("tags") if isinstance(model, dict) else None
        yield from (name, *(f"{name}.{tag}" for tag in tags or () if isinstance(tags, dict)))


MODEL_TYPES = schema.mapping(NAME, schema.IDENTIFIER, FrozenMapping)
DEFAULT_TAGS = schema.mapping(NAME, NAME, FrozenMapping)  # plain name -> that of another entry behind a dot


def _plain(manifest: schema.Fields) -> Problems:
    """Yields default tags that no entry has, and plain names that one has."""
    models = manifest["models"]
    for name, tag in (manifest["default_tags"] or {}).items():
        if f"{name}.{tag}" not in models:
            yield f"default_tags.{name}", f"no entry {f'{name}.{tag}'!r}"
        if name in models:
            yield f"default_tags.{name}", "is the name of an entry"


def _used(manifest: schema.Fields) -> Problems:
    """Yields the families that have defaults and no models: their names are misspelled."""
    families = {entry.family for entry in manifest["models"].values()}
    for family in manifest["families"] or ():
        if family not in families:
            yield f"families.{family}", f"no model is of this family{schema.suggest(family, families)}"


def _manifest(
    *, models: Mapping[str, Entry], default_tags: Mapping[str, str] = FrozenMapping(), **fields: Any
) -> Manifest:
    plain = {name: replace(models[f"{name}.{tag}"], name=name) for name, tag in default_tags.items()}
    models = FrozenMapping({**models, **plain}) if plain else models
    pretrained = frozenset(name for name, entry in models.items() if entry.weights)
    return Manifest(models=models, pretrained=pretrained, **fields)


def check_manifest(value: Any, path: str, problems: list[str]) -> Any:
    """Checks a manifest as a whole."""
    defaults = _defaults(value.get("families") if isinstance(value, dict) else None)
    fields: dict[str, schema.Check] = {
        "families": FAMILIES,
        "models": partial(_models, defaults),
        "model_types": MODEL_TYPES,
        "default_tags": DEFAULT_TAGS,
    }
    rules = (_used, _plain)
    return schema.record(_manifest, fields, required=("models",), rules=rules)(value, path, problems)


def parse(path: Path, content: bytes) -> Manifest:
    """Returns the manifest in the content of a YAML file; errors name the path.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    manifest: Manifest = checked(path, content, check_manifest)
    return manifest


def checked(path: Path, content: bytes, check: schema.Check) -> Any:
    """Returns what `check` makes of a YAML or JSON file's content; errors name the path.

    Raises:
        ManifestError: it breaks its schema; every problem is listed.
    """
    problems: list[str] = []
    # JSON is YAML: one reader finds duplicate keys and the like in both.
    value = strict_yaml.read(content, problems)
    # Nothing to check where the file as a whole was unreadable.
    if value is not None or not problems:
        value = check(value, "", problems)
    if problems:
        raise broken(path, problems)
    return value


def broken(path: Path, problems: list[str]) -> ManifestError:
    """Returns the error that lists all problems of a file."""
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ManifestError(f"{str(path)!r} breaks its schema:{lines}")
