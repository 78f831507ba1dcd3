"""From an entry to its module: the `create` of its family, called with its config."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping
from zoo._registry.schema import suggest
from zoo._variables import casting


def build(
    entry: Entry,
    *,
    module: nn.Module | None = None,
    dtype: DTypeLike | None = None,
    config: Mapping[str, Any] = MappingProxyType({}),
    others: Sequence[str] = (),
) -> tuple[nn.Module, Entry]:
    """The entry's module, or the given one, and an entry that says what was built.

    Args:
        entry: The model's record.
        module: A module of your own, instead of the family's.
        dtype: Dtype to compute in.
        config: Keywords of the family's `create` that differ from the entry's.
        others: The caller's own keywords, which a misspelt one may stand for.

    Raises:
        ZooError: the family has no such keyword, or refuses its value.
    """
    compute = {} if dtype is None else {"dtype": casting.float_dtype("dtype", dtype)}
    if module is not None:
        if config:
            advice = "".join(suggest(name, others) for name in config)
            raise ZooError(
                f"module= and {', '.join(config)}= exclude each other"
                f"{advice or '; configure the module itself.'}"
            )
        return _computing_in(module, compute), replace(entry, family=None, config=FrozenMapping())
    if entry.family is None:
        raise ZooError(f"{entry.name!r} is a module of your own, none of the zoo's; pass it as module=.")
    # As config.json has them: NumPy's numbers are Python's.
    plain = {name: each.item() if isinstance(each, np.generic) else each for name, each in config.items()}
    described = replace(entry, config=FrozenMapping({**entry.config, **plain}))
    created = _create(described, compute, others)
    return created, _adapted(entry, described, created, config)


def _adapted(entry: Entry, described: Entry, module: nn.Module, config: Mapping[str, Any]) -> Entry:
    """The described entry without what a changed config makes wrong: inputs, classes and their scores."""
    if not config:
        return described
    inputs = families.family(entry).inputs(module, entry.inputs)
    same = config.get("num_classes", len(entry.class_names)) == len(entry.class_names)
    return replace(
        described,
        inputs=inputs,
        classes=entry.classes if same else None,
        labels=entry.labels if same else (),
        scores=entry.scores
        if described.config.get("num_classes") == entry.config.get("num_classes")
        else None,
    )


def _create(entry: Entry, compute: Mapping[str, Any], others: Sequence[str]) -> nn.Module:
    create = families.family(entry).create
    keywords = [name for name in inspect.signature(create).parameters if name != "dtype"]
    unknown = [name for name in entry.config if name not in keywords]
    if unknown:
        advice = "".join(suggest(name, (*keywords, *others)) for name in unknown)
        raise ZooError(
            f"family {entry.family!r} has no {', '.join(map(repr, unknown))}, only {', '.join(keywords)}"
            f"{advice or '.'}"
        )
    hints = inspect.get_annotations(create, eval_str=True)
    for name, value in entry.config.items():
        _check_number(name, value, hints[name])
    try:
        module: nn.Module = create(**entry.config, **compute)
    except (TypeError, ValueError) as error:
        raise ZooError(f"family {entry.family!r} refuses {dict(entry.config)}: {error}") from error
    return module


def _check_number(name: str, value: Any, hint: Any) -> None:
    """Checks a keyword that is a whole number, which Flax would only refuse in a layer."""
    if hint not in (int, int | None) or (value is None and hint == int | None):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ZooError(f"{name}={value!r}; expected a whole number, 0 or above.")


def _computing_in(module: nn.Module, compute: Mapping[str, Any]) -> nn.Module:
    if not isinstance(module, nn.Module):
        called = isinstance(module, type) and issubclass(module, nn.Module)
        found = f"the class {module.__name__}; call it" if called else type(module).__name__
        raise ZooError(f"module= takes a flax.linen module, found {found}.")
    if compute and not hasattr(module, "dtype"):
        raise ZooError(f"{type(module).__name__} has no field 'dtype'; leave dtype= out.")
    return module.clone(**compute)
