"""Models in timm's layout: what its config.json says, as an entry.

The architecture is that of the manifest's entries of the same name, with what the file says otherwise. What
the zoo does not read would make another model, and is refused by name.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ManifestError
from zoo._loading.build import build
from zoo._loading.sentence_transformers import Read, parsed
from zoo._registry import families, manifest
from zoo._registry.entry import UNATTESTED, Entry, FrozenMapping, Input, Photos
from zoo._registry.entry_schema import FILTERS
from zoo._registry.family import Family

LAYOUT = "timm"  # the layouts of its files begin so
# timm's arguments -> keywords of `create`, of the families that have them
ARGUMENTS = {
    "class_token": "class_token",
    "depth": "depth",
    "embed_dim": "width",
    "img_size": "image_size",
    "in_chans": "in_channels",
    "init_values": "layer_scale",
    "num_classes": "num_classes",
    "num_heads": "heads",
    "patch_size": "patch_size",
    "qkv_bias": "qkv_bias",
    "reg_tokens": "registers",
    "window_size": "window_size",
}
# Arguments that change nothing but training, or how images of other sizes are taken.
IRRELEVANT = {
    "attn_drop_rate",
    "drop_block_rate",
    "drop_path_rate",
    "drop_rate",
    "dynamic_img_size",
    "features_only",
    "patch_drop_rate",
    "pos_drop_rate",
    "pretrained",
    "proj_drop_rate",
    "strict_img_size",
}
POOLING = {"avg": "average", "map": "attention", "token": "token"}
# What timm takes where its record of the weights says nothing.
DEFAULTS = {"input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}


def is_timm_config(content: bytes) -> bool:
    """Returns whether a config.json is timm's: it names an architecture, and is not of zoo.save."""
    try:
        config = decode_json(content, "")
    except CheckpointError:
        return False
    return (
        isinstance(config, dict)
        and isinstance(config.get("architecture"), str)
        and "num_params" not in config
    )


def entry(name: str, content: bytes, read: Read, head: str | None = None) -> Entry:
    """Returns the entry of a model in timm's layout, but for its weights.

    Args:
        name: Name that it is loaded by.
        content: Content of config.json.
        read: Gives its other files, of which none is needed.
        head: The head that the caller chooses; the file's is that of classes.

    Raises:
        ManifestError: the zoo has no such architecture, or not with these options; all of them are listed.
    """
    config = parsed(f"{name}: config.json", content, dict)
    # Early files have the record of the weights at the top.
    record = {**DEFAULTS, **(config.get("pretrained_cfg") or config)}
    base = _architecture(name, str(config["architecture"]), str(record.get("tag")), _count(config, record))
    family = families.family(base)
    problems: list[str] = []
    keywords = {**base.config, **_keywords(config, record, base, family, problems)}
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} is a {config['architecture']} that the zoo does not have:{lines}")
    channels, height, width = record["input_size"]
    made = Entry(
        name,
        0,
        family=base.family,
        config=FrozenMapping(keywords),
        inputs=(Input("images", (1, height, width, channels), "float32"),),
        layout=base.layout,
        license=_license(record.get("license"), base),
        paper=base.paper,
        preprocess=_preprocess(record, channels),
    )
    module, _ = build(made)
    labels = config.get("label_names") or record.get("label_names") or ()
    count = keywords.get("num_classes", 1000)
    same = not labels and count == base.config.get("num_classes", 1000)
    return replace(
        made,
        inputs=family.inputs(module, made.inputs),
        classes=base.classes if same else None,
        labels=tuple(map(str, labels)) if len(labels) == count else (),
    )


def _license(said: Any, base: Entry) -> str:
    """Returns the license that the file states, in the manifest's spelling where that has the same."""
    if not isinstance(said, str) or not said.strip() or "\n" in said:
        return UNATTESTED
    return base.license if base.license and base.license.lower() == said.lower() else said


def _count(config: Mapping[str, Any], record: Mapping[str, Any]) -> Any:
    """Returns the number of classes, if the file says it; the arguments of the model count first."""
    places = (config.get("model_args") or {}, config, record)
    return next((place["num_classes"] for place in places if place.get("num_classes") is not None), None)


def _architecture(name: str, architecture: str, tag: str, count: Any) -> Entry:
    """Returns an entry of an architecture of timm: with as many classes, of the tag, or else any."""
    models = manifest.read().models
    found = [models[each] for each in models if each.startswith(f"{architecture}.")]
    found = [each for each in found if str(each.layout).startswith(LAYOUT)]
    if found:
        own = f"{architecture}.{tag}"
        return min(found, key=lambda each: (each.config.get("num_classes", 1000) != count, each.name != own))
    known = {each.partition(".")[0] for each in models}
    near = get_close_matches(architecture, known, 3)
    advice = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
    raise ManifestError(
        f"{name!r} is of timm's architecture {architecture!r}, which the zoo does not have{advice}."
    )


def _keywords(
    config: Mapping[str, Any], record: Mapping[str, Any], base: Entry, family: Family, problems: list[str]
) -> dict[str, Any]:
    """Returns the keywords of `create` that the file has otherwise than the entry."""
    parameters = inspect.signature(family.create).parameters
    arguments = {**(config.get("model_args") or {})}
    found: dict[str, Any] = {}
    if not _is_size(record["input_size"]):
        problems.append(f"input_size: {record['input_size']!r}; expected channels, height and width")
        return found
    channels, *sides = record["input_size"]
    found["in_channels"] = channels
    if "image_size" in parameters:
        found["image_size"] = sides[0] if sides[0] == sides[1] else sides
    count = _count(config, record)
    if count is not None:
        found["num_classes"] = count
    pooling = arguments.pop("global_pool", config.get("global_pool"))
    found |= _pooling(pooling, parameters, problems)
    for argument, value in arguments.items():
        keyword = ARGUMENTS.get(argument, "")
        if keyword in parameters and value is not None:
            found[keyword] = value
        elif argument not in IRRELEVANT and value is not None:
            problems.append(f"model_args, {argument}: {value!r}; the zoo does not read it")
    problems.extend(_stale(found, base))
    usual = {name: each.default for name, each in parameters.items()}
    return {name: each for name, each in found.items() if base.config.get(name, usual[name]) != each}


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(each) is int for each in value)


def _pooling(pooling: Any, parameters: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    """Returns the keyword for how the last states become one vector; convolutional networks have averages."""
    if pooling is None:
        return {}
    if "pooling" in parameters and pooling in POOLING:
        return {"pooling": POOLING[pooling]}
    if pooling != "avg":
        problems.append(
            f"global_pool: {pooling!r}; the zoo has {', '.join(POOLING)} of transformers, else avg"
        )
    return {}


def _stale(found: Mapping[str, Any], base: Entry) -> Iterator[str]:
    """Yields what the entry says of another width than the file's."""
    own = base.config.get("width")
    if "feed_forward" in base.config and found.get("width", own) != own:
        yield f"model_args, embed_dim: {found['width']!r}; the zoo has {base.name!r} with its own width only"


def _preprocess(record: Mapping[str, Any], channels: int) -> Photos | None:
    """Returns timm's transforms of evaluation; None where the zoo has no such ones."""
    _, height, width = record["input_size"]
    scaled = [math.floor(side / record["crop_pct"]) for side in (height, width)]
    squash = record["crop_mode"] == "squash"
    if channels not in (1, 3) or record["interpolation"] not in FILTERS:
        return None
    if not squash and (record["crop_mode"] != "center" or height != width):
        return None
    colors: dict[str, Any] = {
        name: tuple(map(float, record[name])) for name in ("mean", "std") if record.get(name)
    }
    if any(len(each) != channels for each in colors.values()) or (channels == 1 and len(colors) < 2):
        return None
    return Photos(
        resize=(scaled[0], scaled[1]) if squash else scaled[0],
        crop=height if height == width else (height, width),
        interpolation=record["interpolation"],
        **colors,
    )
