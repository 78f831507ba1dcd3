"""Which of the nested mappings in a PyTorch file is the model's state dict."""

import re
from collections.abc import Iterator
from itertools import starmap
from typing import Any

from converters.errors import CheckpointError
from converters.formats.torch_pickle import Tensor

# Mappings that may have tensors but are no weights.
NO_WEIGHTS = re.compile(r"(?i).*(optim|sched|scaler|rng|random|callback|loop|hparam|hyper_param|metadata).*")
MAX_DEPTH = 4

StateDict = dict[Any, Any]  # some values are tensors


def select_state_dict(root: Any, key: str | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict in what a file holds, and notes about what was unwrapped and left out.

    Args:
        root: What the file's pickle holds.
        key: The wanted mapping's name, with dots before the names of nested ones; "" is the top level.
    """
    if not isinstance(root, dict):
        expected = "expected a mapping of names to tensors"
        if isinstance(root, Tensor):
            what = f"a tensor of shape {root.shape} without a name"
            raise CheckpointError(f"holds {what}, {expected}; save it as {{name: tensor}}")
        raise CheckpointError(f"holds a {type(root).__name__}, {expected}")
    found = dict(_state_dicts(root))
    name = _choose(found, key, list(root))
    notes = []
    if name:
        beside = [str(other)[:40] for other in root if not f"{name}.".startswith(f"{other}.")]
        notes.append(f"took the weights from {name!r}" + (f", left out {_listed(beside)}" if beside else ""))
    tensors = {key: value for key, value in found[name].items() if isinstance(value, Tensor)}
    rest = {key: value for key, value in found[name].items() if key not in tensors}
    for key, value in rest.items():
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            raise CheckpointError(f"{str(key)[:80]!r} is a list of tensors, expected tensors with names")
    if rest:
        notes.append(f"left out what is no tensor: {_listed([str(key)[:40] for key in rest])}")
    return tensors, tuple(notes)


def _state_dicts(root: StateDict) -> Iterator[tuple[str, StateDict]]:
    """Every mapping with tensors right inside, by its path."""
    seen, level = {id(root)}, [("", root)]
    for _ in range(MAX_DEPTH):
        below = []
        for path, mapping in level:
            if any(isinstance(value, Tensor) for value in mapping.values()):
                yield path, mapping
            for name, value in mapping.items():
                searched = (
                    isinstance(value, dict) and isinstance(name, str) and not NO_WEIGHTS.fullmatch(name)
                )
                # A pickle can hold one mapping in many places, itself among them.
                if searched and id(value) not in seen:
                    seen.add(id(value))
                    below.append((f"{path}.{name}" if path else name, value))
        level = below


def _choose(found: dict[str, StateDict], key: str | None, top: list[Any]) -> str:
    """The path of the mapping to take."""
    if not found:
        raise CheckpointError(
            f"no model weights found; its keys are {_listed([str(key)[:40] for key in top])}"
        )
    if key is not None:
        inside = {path: values for path, values in found.items() if f"{path}.".startswith(f"{key}.")}
        if key in found:
            return key
        if not inside:
            raise CheckpointError(f"has no weights in {key!r}; choose {_choices(found)}")
        found = inside
    # What stands beside the weights, such as the best accuracy so far, can be tensors too.
    arrays = [path for path, values in found.items() if any(starmap(_is_weight, values.items()))]
    paths = arrays or list(found)
    if len(paths) > 1:
        raise CheckpointError(f"has several sets of weights; choose {_choices(found)}")
    return paths[0]


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(value, Tensor) and bool(value.shape) and not NO_WEIGHTS.fullmatch(str(name))


def _choices(found: dict[str, StateDict]) -> str:
    return " or ".join(
        f"key={path[:100]!r} ({len(values)} entries)" for path, values in list(found.items())[:20]
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8])) or "none"
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
