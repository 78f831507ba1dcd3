"""Makes the manifest entry of weights that others have published, from the file and its model card."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import flax.linen as nn
import jax

from converters.checkpoints import Checkpoint
from converters.formats import are_flax
from converters.linen import inspect_module
from converters.matching import best_fit, fewest_problems
from zoo._errors import ManifestError, ZooError
from zoo._hub.settings import Token
from zoo._loading import companions, layouts, recognize, repositories, weights
from zoo._loading.build import build
from zoo._loading.load import pretrained_arrays
from zoo._loading.located import Located
from zoo._publishing import manifest_check, published_weights
from zoo._publishing.card_facts import CardFacts, read_card
from zoo._registry import entry_schema, families, manifest_file, packaged
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.manifest_schema import Manifest
from zoo._variables.tree import count_params, unflatten

README = "README.md"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The user's own statements, which come before what is found out.

    Attributes:
        like: Model of the manifest that has the architecture, inputs, preprocessing and classes that a
            config.json does not state; for a tag, by default the model that it is one of.
        file: File of the repository, where it has several.
        license: License of the weights.
        metrics: Results by `dataset_split_metric`.
        paper: Address of the paper.
        source: Origin of the weights, for readers.
        token: For the Hub.
    """

    like: str | None = None
    file: str | None = None
    license: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    paper: str | None = None
    source: str | None = None
    token: Token = field(default=None, repr=False)


Ask: TypeAlias = Callable[[str], str]


def scores(texts: Iterable[str]) -> dict[str, float]:
    """Returns metrics that are written as `name=value`.

    Raises:
        ZooError: one of them is not.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ZooError(
                f"{text!r} is no metric; expected NAME=VALUE, such as mnist_test_accuracy=0.99."
            ) from None
    return found


def draft(
    known: Manifest, name: str, address: str, choices: Choices, ask: Ask | None = None
) -> tuple[Entry, list[str]]:
    """Downloads published weights, and makes an entry of them.

    The revision is a commit, size and hash are those of the downloaded file, config and inputs those of the
    repository's config.json, else of `like` or of the model that the tensors fit, and the layout the one that
    fits.

    Args:
        known: The manifest that the entry is for.
        name: Name of the entry.
        address: `hf://owner/name`, with `@revision` if it is not the main branch, or the URL of a file.
        choices: The user's own statements.
        ask: Asks a person for the license or metrics where they are not stated; None if nobody is there.

    Returns:
        The entry, and sentences about what it lacks, and what of the card was left out.

    Raises:
        WeightsError: there is no such file, it cannot be fetched, or is damaged.
        ManifestError: the config.json is transformers', and of no model that the zoo has.
        ConversionError: it fits no layout of its family.
        ZooError: the license is unknown; no model of the manifest has its architecture, or several have.
    """
    place = published_weights.find(name, address, file=choices.file, token=choices.token)
    place = replace(place, entry=_like(place.entry, known, choices.like or manifest_file.owner(known, name)))
    card = _card(place)
    license_ = choices.license or place.entry.license or card.license or _asked_license(address, ask)
    metrics = choices.metrics or place.entry.metrics or card.metrics or _asked_metrics(ask)
    place = published_weights.downloaded(place)
    tensors = weights.read(place, weights.Access(sliced=True))
    notes = list(card.notes)
    entry = place.entry if place.entry.family else _recognized(place.entry, tensors, address, notes)
    entry = replace(
        _with_classes(entry),
        config=_without_defaults(entry),
        layout=None if are_flax(tensors) else _layout(entry, tensors, known),
        license=license_,
        metrics=FrozenMapping(metrics),
        paper=choices.paper or entry.paper or card.paper or _default(known, entry, "paper"),
        source=choices.source or entry.source or _page(address),
    )
    module, arrays = pretrained_arrays(replace(place, entry=entry))
    entry = replace(entry, num_params=count_params(unflatten(arrays)))
    problems = list(manifest_check.contradictions(entry, {}))
    if problems:
        raise ManifestError(f"{address!r} makes no right entry: {'; '.join(problems)}.")
    return entry, [*notes, *_lacking(entry, module)]


def _like(entry: Entry, known: Manifest, like: str | None) -> Entry:
    """Returns the entry with what it lacks of architecture, preprocessing and classes from another model."""
    if like is None:
        return entry
    if like not in known.models:
        raise ManifestError(f"--like: the manifest has no model {like!r}.")
    model = known.models[like]
    if entry.family is None:
        entry = replace(entry, family=model.family, config=model.config, inputs=model.inputs)
    if entry.family != model.family:
        raise ZooError(
            f"--like: {like!r} is of family {model.family!r}, and the weights of {entry.family!r}."
        )
    entry = replace(entry, preprocess=entry.preprocess or model.preprocess)
    return entry if entry.class_names else replace(entry, classes=model.classes, labels=model.labels)


def _card(place: Located) -> CardFacts:
    content = companions.companion(place, README) if place.weights.repo else None
    return read_card(content or b"")


def _asked_license(address: str, ask: Ask | None) -> str:
    license_ = ask("License of the weights, such as Apache-2.0") if ask else ""
    if not license_:
        raise ZooError(
            f"{address!r} does not state its license; pass --license, such as --license Apache-2.0, or "
            "--license unattested if its authors have stated none."
        )
    return license_


def _asked_metrics(ask: Ask | None) -> dict[str, float]:
    question = "Metrics, such as imagenet1k_val_top1=0.76, with spaces between several (none: leave it empty)"
    return scores(ask(question).split()) if ask else {}


def _recognized(entry: Entry, tensors: Checkpoint, address: str, notes: list[str]) -> Entry:
    """Returns the entry with the architecture of the model of the manifest that the tensors fit."""
    try:
        if are_flax(tensors):
            found = recognize.entry_of_variables(tensors)
        else:
            found = recognize.recognize(tensors)[0].entry
    except ZooError as error:
        raise ZooError(
            f"{address!r} is not recognized: {str(error).partition(';')[0]}; --like names the model of the "
            "manifest that has its architecture."
        ) from error
    notes.append(
        f"config and inputs are those of {found.name!r}, which its tensors fit; check what has no tensor, "
        "such as the number of heads or an epsilon"
    )
    return replace(entry, family=found.family, config=found.config, inputs=found.inputs)


def _layout(entry: Entry, tensors: Checkpoint, known: Manifest) -> str:
    """Returns the layout with the fewest problems; of several, the family's default."""
    module, _ = build(entry)
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in entry.inputs]
    inspection, allowed = inspect_module(module, *shapes), layouts.allowed_names(entry)
    names, first = families.torch_names(entry), _default(known, entry, "layout")
    if not names:
        raise ZooError(
            f"family {entry.family!r} names no layout of PyTorch files; give it TORCH_NAMES, or publish "
            "what `zoo convert` makes of these."
        )
    layout, _ = fewest_problems(
        sorted(names, key=lambda layout: layout != first),
        lambda layout: best_fit(inspection, tensors, names[layout], (), allowed),
    )
    return layout


def _default(known: Manifest, entry: Entry, name: str) -> Any:
    return known.families.get(str(entry.family), {}).get(name)


def _without_defaults(entry: Entry) -> FrozenMapping:
    """Returns the config without what the family's `create` has by default."""
    parameters = inspect.signature(families.family(entry).create).parameters
    return FrozenMapping(
        {name: value for name, value in entry.config.items() if parameters[name].default != value}
    )


def _with_classes(entry: Entry) -> Entry:
    """Returns the entry with the file of class names instead of its labels, if they are the same."""
    for path in packaged.classes_path("any").parent.glob("*.txt") if entry.labels else ():
        names = replace(entry, classes=path.stem, labels=()).class_names
        if len(names) == len(entry.labels) and all(map(_is_same_class, entry.labels, names)):
            return replace(entry, classes=path.stem, labels=())
    return entry


def _is_same_class(label: str, name: str) -> bool:
    """Returns whether a label, which may list synonyms as "tench, Tinca tinca", begins with the name."""
    first = label.partition(",")[0].strip().lower()
    return f"{name.lower()} ".startswith(f"{first} ")


def _page(address: str) -> str:
    """Returns the address of the weights for readers."""
    match = repositories.NAME.fullmatch(address)
    return f"https://huggingface.co/{match[1]}" if match else address


def _lacking(entry: Entry, module: nn.Module) -> Iterator[str]:
    """Yields sentences about what nobody states, and a person has to add."""
    if entry.weights and entry.weights.url and not entry_schema.URL_HASH.search(entry.weights.url):
        yield "the hash is that of the file that was downloaded; no other one was there to compare with"
    if not entry.metrics:
        yield "there are no metrics; --score NAME=VALUE states one"
    if not entry.takes_tokens:
        if entry.preprocess is None:
            yield "no preprocessing is known; add `preprocess`, or zoo.preprocess refuses the model"
        if getattr(module, "num_classes", 0) and not entry.class_names:
            yield "no names of classes are known; add `classes` or `labels`"
