"""Which of the nested mappings in a PyTorch file is the model's state dict."""

import re
from collections.abc import Iterator
from itertools import starmap
from typing import Any

from converters.errors import CheckpointError
from converters.formats.numpy_pickle import PickledArray
from converters.formats.torch_pickle import RESAVE, Opaque, Tensor, reason

# Mappings that may have tensors but are no weights.
NO_WEIGHTS = re.compile(r"(?i).*(optim|sched|scaler|rng|random|callback|loop|hparam|hyper_param|metadata).*")
MAX_DEPTH = 4

StateDict = dict[Any, Any]  # some values are tensors
Weight = Tensor | PickledArray


def select_state_dict(root: Any, key: str | None) -> tuple[dict[str, Weight], tuple[str, ...]]:
    """Chooses the state dict in the value of a file's pickle; notes say what was unwrapped and left out.

    NumPy's arrays are weights in files without tensors only; elsewhere they are losses, or statistics.

    Args:
        root: The value of the file's pickle.
        key: The wanted mapping's name, with dots before the names of nested ones; "" is the top level.
    """
    if isinstance(root, Opaque) and root.items:
        root = root.items
    if not isinstance(root, dict):
        expected = "expected a mapping of names to tensors"
        if isinstance(root, Tensor):
            what = f"a tensor of shape {root.shape} without a name"
            raise CheckpointError(f"holds {what}, {expected}; save it as {{name: tensor}}")
        if isinstance(root, Opaque):
            raise CheckpointError(f"holds {root}, {expected}; nothing was executed; {RESAVE}")
        raise CheckpointError(f"holds a {type(root).__name__}, {expected}")
    found = dict(_state_dicts(root, Tensor)) or dict(_state_dicts(root, PickledArray))
    tree = _tree(root) if len(found) > 1 and key is None else {}
    if tree:
        found = {"": tree}
    name = _choose(found, key, root)
    notes = []
    if name:
        beside = [str(other)[:40] for other in root if not f"{name}.".startswith(f"{other}.")]
        notes.append(f"took the weights from {name!r}" + (f", left out {_listed(beside)}" if beside else ""))
    tensors = {key: value for key, value in found[name].items() if _kind(value)}
    if any(isinstance(value, Tensor) for value in tensors.values()):
        tensors = {key: value for key, value in tensors.items() if isinstance(value, Tensor)}
    rest = {key: value for key, value in found[name].items() if key not in tensors}
    for key, value in rest.items():
        if isinstance(value, list | tuple) and any(map(_kind, value)):
            raise CheckpointError(f"{str(key)[:80]!r} is a list of tensors, expected tensors with names")
        if isinstance(value, Opaque) and reason(value.name):
            raise CheckpointError(f"{str(key)[:80]!r} is {value}: it cannot be read; {RESAVE}")
    if rest:
        notes.append(f"left out what is no tensor: {_listed([str(key)[:40] for key in rest])}")
    return tensors, tuple(notes)


def _kind(value: Any) -> type | None:
    """Returns which kind of weight a value is, if it is one."""
    if isinstance(value, PickledArray):
        return PickledArray if value.view is not None else None
    return Tensor if isinstance(value, Tensor) else None


def _items(value: Any) -> StateDict | None:
    """Returns the items of a mapping, whatever its class."""
    if isinstance(value, dict):
        return value
    return value.items or None if isinstance(value, Opaque) else None


def _state_dicts(root: StateDict, kind: type) -> Iterator[tuple[str, StateDict]]:
    """Yields every mapping with weights of the kind right inside, by its path."""
    seen, level = {id(root)}, [("", root)]
    for _ in range(MAX_DEPTH):
        below = []
        for path, mapping in level:
            if any(_kind(value) is kind for value in mapping.values()):
                yield path, mapping
            for name, value in mapping.items():
                items = _items(value)
                if items is None or not isinstance(name, str) or NO_WEIGHTS.fullmatch(name):
                    continue
                # A pickle can hold one mapping in many places, itself among them.
                if id(items) not in seen:
                    seen.add(id(items))
                    below.append((f"{path}.{name}" if path else name, items))
        level = below


def _tree(root: StateDict) -> StateDict:
    """Returns a nested mapping of NumPy's arrays alone, as Haiku's, by dotted names; empty for others."""
    found: StateDict = {}
    if len({frozenset(map(str, value)) for value in root.values() if isinstance(value, dict)}) == 1:
        return found  # several sets of weights of one model, such as averaged ones
    level = [("", root, 0)]
    while level:
        path, mapping, depth = level.pop(0)
        for name, value in mapping.items():
            inner = f"{path}.{name}" if path else str(name)
            if isinstance(value, dict) and depth < MAX_DEPTH:
                level.append((inner, value, depth + 1))
            elif _kind(value) is PickledArray:
                found[inner] = value
            else:
                return {}
    return found


def _choose(found: dict[str, StateDict], key: str | None, root: StateDict) -> str:
    """Returns the path of the mapping to take."""
    if not found:
        objects = [
            f"{str(name)[:40]!r} is {value}" for name, value in root.items() if isinstance(value, Opaque)
        ]
        why = f"; {'; '.join(objects[:5])}; nothing was executed; {RESAVE}" if objects else ""
        raise CheckpointError(
            f"no model weights found; its keys are {_listed([str(name)[:40] for name in root])}{why}"
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
    return bool(_kind(value)) and bool(value.shape) and not NO_WEIGHTS.fullmatch(str(name))


def _choices(found: dict[str, StateDict]) -> str:
    return " or ".join(
        f"key={path[:100]!r} ({len(values)} entries)" for path, values in list(found.items())[:20]
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8])) or "none"
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
