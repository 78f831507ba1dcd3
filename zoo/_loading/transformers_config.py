"""Models in the Hub's layout: what config.json and its companions say, as an entry.

Every attribute has a meaning for the family, is known to change nothing, or is refused by name: one that is
ignored would make a silently wrong model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ManifestError
from zoo._loading import preprocessor_config, sentence_transformers
from zoo._loading.build import build
from zoo._loading.score_kinds import score_kind
from zoo._registry import families, manifest
from zoo._registry.entry import Entry, FrozenMapping, Photos
from zoo._registry.family import IRRELEVANT, ConfigFields

Read: TypeAlias = Callable[[str], bytes | None]  # a file's content; None where there is no such file


def is_hub_config(content: bytes) -> bool:
    """Returns whether a config.json is of a model in the Hub's layout, not one that zoo.save wrote."""
    try:
        config = decode_json(content, "")
    except CheckpointError:
        return False
    return isinstance(config, dict) and "model_type" in config and "num_params" not in config


def entry(name: str, content: bytes, read: Read, head: str | None = None) -> Entry:
    """The entry of a model in the Hub's layout, but for its weights.

    Args:
        name: Name that it is loaded by.
        content: Content of config.json.
        read: Gives its other files.
        head: Instead of the one that `architectures` names.

    Raises:
        ManifestError: the zoo has no such model, or not with these options; all of them are listed.
    """
    config = sentence_transformers.parsed(f"{name}: config.json", content, dict)
    kind, model_types = config.get("model_type"), manifest.read().model_types
    if kind not in model_types:
        raise ManifestError(
            f"{name!r} has model_type {kind!r}; the zoo has {', '.join(sorted(model_types))}."
        )
    family = families.named(model_types[kind])
    assert family is not None  # a test holds the manifest to it
    fields = family.config_fields[kind]
    problems = [*_problems(config, fields)]
    keywords = {**fields.defaults, **_keywords(config, fields, problems)}
    if head is None:
        sentences = sentence_transformers.keywords(name, read) if fields.embeds else {}
        keywords |= sentences or _of_architecture(config, fields, problems)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} is a {kind} that the zoo does not have:{lines}")
    classifies = fields.classifies and (head or keywords.get("head", "classification")) == "classification"
    made = Entry(
        name,
        0,
        family=model_types[kind],
        config=FrozenMapping(keywords),
        inputs=fields.inputs,
        layout=families.ANY,
        labels=_labels(config) if fields.classifies else (),
        scores=score_kind(name, config, read, keywords["num_classes"]) if classifies else None,
    )
    made = _completed(made, {} if head is None else {"head": head})
    return replace(made, preprocess=_preprocess(made, fields, read))


def _completed(made: Entry, chosen: Mapping[str, Any]) -> Entry:
    """Returns the entry with the inputs of its module."""
    _, described = build(made, config={**made.config, **chosen})
    return replace(made, config=described.config, inputs=described.inputs)


def _preprocess(made: Entry, fields: ConfigFields, read: Read) -> Photos | None:
    """Returns what preprocessor_config.json says; None, too, where `zoo.preprocess` will refuse it."""
    content = read(preprocessor_config.PREPROCESSOR) if fields.processor else None
    if content is None:
        return None
    try:
        return preprocessor_config.photos(made.name, content, fields.processor, made.inputs[0].shape[-1])
    except ManifestError:
        return None


def _problems(config: Mapping[str, Any], fields: ConfigFields) -> Iterator[str]:
    """Yields the attributes that the family does not have."""
    known = {*fields.keywords, *fields.fixed, *fields.irrelevant, *IRRELEVANT}
    for name, value in config.items():
        if name in fields.fixed and value != fields.fixed[name]:
            yield f"{name}: {value!r}; the zoo has {fields.fixed[name]!r} only"
        elif name not in known:
            yield f"{name}: {value!r}; nobody has said what it means for the family"


def _keywords(config: Mapping[str, Any], fields: ConfigFields, problems: list[str]) -> dict[str, Any]:
    """The keywords of `create` that attributes stand for; null is the default."""
    found = {
        keyword: config[name] for name, keyword in fields.keywords.items() if config.get(name) is not None
    }
    if "activation" in found:
        activation = found["activation"]
        if activation not in fields.activations:
            problems.append(f"activation {activation!r}; the zoo has {', '.join(fields.activations)}")
        found["activation"] = fields.activations.get(activation)
    if fields.classifies:
        found["num_classes"] = len(config.get("id2label") or ()) or config.get("num_labels") or 2
    return found


def _of_architecture(
    config: Mapping[str, Any], fields: ConfigFields, problems: list[str]
) -> Mapping[str, Any]:
    named = config.get("architectures") or []
    for name in named:
        if name in fields.heads:
            return fields.heads[name]
    problems.append(f"architectures: {named}; the zoo has {', '.join(fields.heads)}, or pass head=")
    return {}


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of classes, unless they are LABEL_0, LABEL_1 ..., which say nothing."""
    labels = config.get("id2label") or {}
    names = tuple(str(labels[index]) for index in sorted(labels, key=int))
    return () if all(name.startswith("LABEL_") for name in names) else names
