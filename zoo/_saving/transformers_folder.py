"""A model as a folder that transformers opens: config.json, tensors by its names, preprocessor_config.json.

What config.json says is read back, and has to give the very module that is saved.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from converters import to_torch
from zoo._errors import ManifestError, ZooError
from zoo._loading import preprocessor_config, transformers_config
from zoo._loading.build import build
from zoo._model import Model
from zoo._registry import families
from zoo._registry.entry import Entry, Photos
from zoo._registry.family import ConfigFields, Family

RUNNING = ("scan", "remat")  # keywords that say how a module runs, not what it computes


def contents(model: Model) -> tuple[dict[str, np.ndarray], bytes, dict[str, bytes]]:
    """Returns the tensors, the content of config.json, and the contents of further files by name.

    Raises:
        ZooError: transformers has no class that computes what the module does.
    """
    entry, family = model.entry, families.named(model.entry.family if model.entry else None)
    if entry is None or family is None or not family.config_fields:
        raise ZooError(
            f"{model} is of no architecture that transformers has; leave format= out, or write its tensors "
            "with converters.to_torch."
        )
    config, layout = _config(model.module, entry, family)
    shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in entry.inputs]
    tensors = to_torch(model.variables, model.module, *shapes, names=family.torch_names[layout])
    means = [name for name in tensors if name.endswith(".running_mean")]
    # Flax has no place for PyTorch's counters of batches.
    tensors |= {name.replace("running_mean", "num_batches_tracked"): np.array(0) for name in means}
    beside = {}
    if isinstance(entry.preprocess, Photos):
        beside[preprocessor_config.PREPROCESSOR] = _json(preprocessor_config.said(entry.preprocess))
    return tensors, _json(config), beside


def layout_of(module: nn.Module, entry: Entry) -> str:
    """Returns the layout of transformers' files of a module of the zoo.

    Raises:
        ZooError: transformers has no class that computes what the module does.
    """
    return _config(module, entry, families.family(entry))[1]


def _json(value: Any) -> bytes:
    # Mappings in an entry are no dictionaries.
    return (json.dumps(value, indent=2, ensure_ascii=False, default=dict) + "\n").encode()


def _config(module: nn.Module, entry: Entry, family: Family) -> tuple[dict[str, Any], str]:
    """Returns the config.json whose class computes what the module does, and the layout of its files."""
    running = {name: value for name, value in entry.config.items() if name in RUNNING}
    plain = module.clone(dtype=None) if hasattr(module, "dtype") else module
    for config, layout in _candidates(module, entry, family):
        try:
            read = transformers_config.entry(entry.name, _json(config), lambda file: None)
            same = build(read, config={**read.config, **running})[0] == plain
        except (ManifestError, ZooError):
            continue
        if same:
            return config, layout
    raise ZooError(
        f"transformers has no class of the family {family.name!r} with the config {dict(entry.config)}; "
        "leave format= out."
    )


def _candidates(module: nn.Module, entry: Entry, family: Family) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields a config.json for each class of transformers, and the layout of its files."""
    defaults = {name: each.default for name, each in inspect.signature(family.create).parameters.items()}
    config = {**defaults, **entry.config}
    for kind, fields in family.config_fields.items():
        attributes = _attributes(module, config, fields)
        for name in fields.heads:
            layout = fields.layouts.get(name, fields.layouts.get("", ""))
            if layout:
                said = {"architectures": [name], "model_type": kind, **attributes, **_labels(entry, module)}
                yield transformers_config.nested(said, fields.sections), layout


def _attributes(module: nn.Module, config: Mapping[str, Any], fields: ConfigFields) -> dict[str, Any]:
    """Returns the attributes that stand for the keywords of `create`."""
    # Several of transformers' names are one function; its own name comes first.
    activations = {ours: theirs for theirs, ours in fields.activations.items()}
    activations |= {ours: ours for ours in fields.activations.values() if ours in fields.activations}
    found: dict[str, Any] = {}
    for name, keyword in fields.keywords.items():
        value = config.get(keyword)
        value = _of_module(module, keyword) if value is None else value
        if transformers_config.is_activation(keyword):
            value = activations.get(value, value)
        if value is not None:
            found[name] = [*value] if isinstance(value, tuple) else value
    ends = getattr(module, "eos_token_id", ())
    found |= {"eos_token_id": ends[0] if len(ends) == 1 else [*ends]} if ends else {}
    return dict(fields.write(found))


def _of_module(module: nn.Module, keyword: str) -> Any:
    """Returns the value that the module has for a keyword whose default depends on others."""
    fields = {name: getattr(module, name) for name in module.__dataclass_fields__}
    groups = [value._asdict() for value in fields.values() if hasattr(value, "_asdict")]
    return next((each[keyword] for each in (fields, *groups) if each.get(keyword) not in (None, ())), None)


def _labels(entry: Entry, module: nn.Module) -> dict[str, Any]:
    count = getattr(module, "num_classes", 0)
    if not count:
        return {}
    names = entry.class_names if len(entry.class_names) == count else [f"LABEL_{i}" for i in range(count)]
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
