"""Models in the Hub's layout: what config.json and its companions say, as an entry.

Every attribute has a meaning for the family, changes nothing by a rule, or is refused by name: one that is
ignored would make a silently wrong model.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import Any, TypeAlias, get_args

from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ManifestError
from zoo._loading import attributes, generation_config, preprocessor_config, sentence_transformers
from zoo._loading.build import build
from zoo._loading.score_kinds import score_kind
from zoo._registry import families, manifest
from zoo._registry.entry import Entry, FrozenMapping, Photos
from zoo._registry.family import ConfigFields, Family

# One of them is in every config.json of transformers, whatever its age.
_SIGNS = frozenset(
    {"model_type", "architectures", "transformers_version", "hidden_size", "n_embd", "dim", "_class_name"}
)
_KINDS = {
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "text"),
    bool: (bool, "true or false"),
}
DIFFUSERS = "_class_name"  # what diffusers has instead of a model_type
Read: TypeAlias = Callable[[str], bytes | None]  # a file's content; None where there is no such file


def is_hub_config(content: bytes) -> bool:
    """Returns whether a config.json is of a model in the Hub's layout, not one that zoo.save wrote."""
    return not _SIGNS.isdisjoint(_attributes(content))


def is_diffusers(content: bytes) -> bool:
    """Returns whether a config.json of the Hub's layout is of a model of diffusers."""
    return DIFFUSERS in _attributes(content)


def _attributes(content: bytes) -> Mapping[str, Any]:
    """Returns what a config.json says; nothing where zoo.save wrote it, or it is none."""
    try:
        config = decode_json(content, "")
    except CheckpointError:
        return {}
    return config if isinstance(config, dict) and "num_params" not in config else {}


def entry(name: str, content: bytes, read: Read, head: str | None = None) -> Entry:
    """The entry of a model in the Hub's layout, but for its weights.

    Args:
        name: Name that it is loaded by.
        content: Content of config.json.
        read: Gives its other files.
        head: The head that the caller chooses, which `architectures` then need not name; the entry has the
            file's own.

    Raises:
        ManifestError: the zoo has no such model, or not with these options; all of them are listed.
    """
    config = sentence_transformers.parsed(f"{name}: config.json", content, dict)
    kind, family = _family(name, config)
    fields = family.config_fields[kind]
    config = fields.read(flat(config, fields.sections))
    problems: list[str] = []
    keywords = {**fields.defaults, **_keywords(config, family, fields, problems)}
    sentences = (
        sentence_transformers.keywords(name, read) if fields.embeds and head in (None, "embedding") else {}
    )
    keywords |= sentences or _of_architecture(config, fields, problems, head)
    shown = str(head or keywords.get("head", ""))
    classes = fields.classifies and (not family.classifying or shown in family.classifying)
    labels = _labels(config, problems) if classes else ()
    if fields.classifies:
        keywords.setdefault("num_classes", len(labels) or _count(config))
    generation: Mapping[str, Any] = {}
    if family.generate:
        generation = _generation(name, config, read)
        keywords |= _ends(generation, problems)
    problems += _problems(config, fields, shown)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} is a {kind} that the zoo does not have:{lines}")
    scored = fields.classifies and shown in ("", "classification")
    made = Entry(
        name,
        0,
        family=family.name,
        config=FrozenMapping(keywords),
        inputs=fields.inputs,
        layout=families.ANY,
        # LABEL_0, LABEL_1 ... say nothing.
        labels=() if all(label.startswith("LABEL_") for label in labels) else labels,
        scores=score_kind(name, config, read, keywords["num_classes"]) if scored else None,
        generation=FrozenMapping(generation_config.said(generation, own_file=generation is not config)),
    )
    _, described = build(made, config=made.config)  # its inputs are those of its module
    made = replace(made, config=described.config, inputs=described.inputs)
    return replace(made, preprocess=_preprocess(made, fields, read))


def flat(config: Mapping[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """Returns a config.json with the attributes of its sections at the top, as `text_config.hidden_size`.

    A section that old files have once more, as `text_config_dict`, is that one: transformers reads it so.
    """
    found = {name: value for name, value in config.items() if name.removesuffix("_dict") not in sections}
    for section in sections:
        again = config.get(f"{section}_dict")
        own = config.get(section) if again is None else again
        found |= {f"{section}.{name}": value for name, value in (own or {}).items()}
    return found


def nested(config: Mapping[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """Returns what `flat` was given."""
    found: dict[str, Any] = {section: {} for section in sections}
    for name, value in config.items():
        section, _, own = name.rpartition(".")
        (found[section] if section in sections else found)[own if section in sections else name] = value
    return found


def is_activation(keyword: str) -> bool:
    """Returns whether a keyword of `create` is the name of an activation."""
    return keyword.rpartition("_")[2] == "activation"


def _family(name: str, config: Mapping[str, Any]) -> tuple[str, Family]:
    """Returns the model_type, told by `architectures` where there is none, and its family."""
    model_types = manifest.read().model_types
    kind = config.get("model_type") or str(config.get(DIFFUSERS, "")).lower() or None
    if kind is None:
        kind = _kind_of_architecture(config, model_types)
    if kind is None:
        raise ManifestError(
            f"the config.json of {name!r} has no model_type, and its architectures "
            f"({config.get('architectures')}) tell none that the zoo has; add it, such as "
            '"model_type": "bert".'
        )
    if kind not in [*model_types]:
        raise ManifestError(
            f"{name!r} has model_type {kind!r}; the zoo has {', '.join(sorted(model_types))}."
        )
    family = families.named(model_types[kind])
    assert family is not None  # a test holds the manifest to it
    return kind, family


def _kind_of_architecture(config: Mapping[str, Any], model_types: Mapping[str, str]) -> str | None:
    """Returns the model_type of which transformers has the class that `architectures` names."""
    for kind, name in model_types.items():
        family = families.named(name)
        if family and any(each in family.config_fields[kind].heads for each in _architectures(config)):
            return kind
    return None


def _preprocess(made: Entry, fields: ConfigFields, read: Read) -> Photos | None:
    """Returns what preprocessor_config.json says; None, too, where `zoo.preprocess` will refuse it."""
    content = read(preprocessor_config.PREPROCESSOR) if fields.processor else None
    if content is None or made.images is None:
        return None
    try:
        return preprocessor_config.photos(made.name, content, fields.processor, made.images.shape[-1])
    except ManifestError:
        return None


def _problems(config: Mapping[str, Any], fields: ConfigFields, head: str) -> Iterator[str]:
    """Yields the attributes that the family does not have."""
    fixed = {**fields.fixed, **fields.fixed_for.get(head, {})}
    for name, value in config.items():
        if name in fixed:
            if value not in (None, fixed[name]):
                yield f"{name}: {value!r}; the zoo has {fixed[name]!r} only"
        elif name not in (*fields.keywords, *fields.irrelevant):
            own = name.rpartition(".")[2]
            if not attributes.is_harmless(own, value):
                yield f"{name}: {value!r}; {attributes.meaning(own)}"


def _keywords(
    config: Mapping[str, Any], family: Family, fields: ConfigFields, problems: list[str]
) -> dict[str, Any]:
    """The keywords of `create` that attributes stand for; null is the default."""
    parameters = inspect.signature(family.create, eval_str=True).parameters
    found: dict[str, Any] = {}
    for name, keyword in fields.keywords.items():
        value = config.get(name)
        if value is None:
            continue
        expected = _expected(value, parameters[keyword].annotation)
        if expected:
            problems.append(f"{name}: {value!r}; expected {expected}")
        elif is_activation(keyword) and value not in fields.activations:
            problems.append(f"activation {value!r}; the zoo has {', '.join(fields.activations)}")
        elif found.setdefault(keyword, value) != value:
            problems.append(f"{name}: {value!r}; another attribute says {found[keyword]!r}")
    return {
        keyword: fields.activations.get(value) if is_activation(keyword) else value
        for keyword, value in found.items()
    }


def _expected(value: Any, annotation: Any) -> str:
    """Returns the values that a keyword takes instead, in words; empty if it takes the value."""
    for kind in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        right, words = _KINDS.get(kind, (object, ""))
        # Python's booleans are whole numbers; sizes are not negative.
        if words and (not isinstance(value, right) or isinstance(value, bool) != (kind is bool)):
            return words
        if kind is int and value < 0:
            return "0 or more"
    return ""


def _of_architecture(
    config: Mapping[str, Any], fields: ConfigFields, problems: list[str], head: str | None
) -> Mapping[str, Any]:
    """Returns the keywords of the class that `architectures` names; the base model's where it names none."""
    named = _architectures(config)
    for name in named or [*fields.heads][:1]:
        if name in fields.heads:
            return fields.heads[name]
    if head is None:
        problems.append(f"architectures: {named}; the zoo has {', '.join(fields.heads)}, or pass head=")
    return {}


def _architectures(config: Mapping[str, Any]) -> list[str]:
    named = config.get("architectures") or []
    return [str(each) for each in named] if isinstance(named, list) else [str(named)]


def _generation(name: str, config: Mapping[str, Any], read: Read) -> Mapping[str, Any]:
    """Returns the attributes of generation_config.json; those of config.json itself where there is none."""
    file = generation_config.GENERATION
    content = read(file)
    if content is None:
        return config
    found: Mapping[str, Any] = sentence_transformers.parsed(f"{name}: {file}", content, dict)
    return found


def _ends(generation: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Returns the tokens that end a generated text."""
    found = generation.get("eos_token_id")
    ends = found if isinstance(found, list) else [] if found is None else [found]
    if any(isinstance(each, bool) or not isinstance(each, int) for each in ends):
        problems.append(f"eos_token_id: {found!r}; expected whole numbers")
    return {"eos_token_id": ends} if ends else {}


def _count(config: Mapping[str, Any]) -> int:
    """Returns the number of classes that transformers takes where they have no names."""
    count = config.get("num_labels")
    return count if isinstance(count, int) and count > 0 else 2


def _labels(config: Mapping[str, Any], problems: list[str]) -> tuple[str, ...]:
    """The names of classes; none where the file has none."""
    labels = config.get("id2label") or {}
    numbers = [str(number) for number in range(len(labels))]
    if not isinstance(labels, dict) or {*labels} != {*numbers}:
        problems.append(f"id2label: {labels!r}; expected a name for each of the numbers 0, 1, 2 ...")
        return ()
    return tuple(str(labels[number]) for number in numbers)
