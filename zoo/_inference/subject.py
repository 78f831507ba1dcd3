"""The model that a verb is about: one by name, which is loaded when it is needed, or one that is loaded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import flax.linen as nn
from jax.typing import DTypeLike

from zoo._errors import ZooError
from zoo._loading.build import build
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.resolve import Name, resolve
from zoo._model import Model
from zoo._registry import manifest
from zoo._registry.entry import Entry

_log = logging.getLogger("zoo")
Given: TypeAlias = Name | Located | Model


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and what is known of it before it is loaded.

    Attributes:
        entry: Its record.
        files: Where it is from, with the files beside its weights; None where nobody knows.
        load: Returns the model; takes keywords of `zoo.load` that change it, if there are any.
    """

    entry: Entry
    files: Located | None
    load: Callable[..., Model]

    @property
    def located(self) -> Located:
        """Where the files beside its weights are, such as its tokenizer.

        Raises:
            ZooError: nobody knows.
        """
        if self.files is None:
            raise ZooError(
                f"nothing says where the tokenizer of {self.entry.name!r} is: take the model as zoo.load "
                "gives it, or change that by model.replace(variables=...)."
            )
        return self.files


def subject(
    given: Given,
    *,
    dtype: DTypeLike | None = None,
    module: nn.Module | None = None,
) -> Subject:
    """Returns the model that a verb is called with.

    Args:
        given: A name, as `zoo.load` takes it, resolved or not; or a model.
        dtype: Dtype to compute in; for names.
        module: A module of your own that takes the weights; for names.

    Raises:
        ZooError: the model has no record, which says what it takes.
    """
    if isinstance(given, Model):
        return _loaded(given)
    located = given if isinstance(given, Located) else resolve(given)

    def load(**config: Any) -> Model:
        return load_located(located, pretrained=True, dtype=dtype, module=module, config=config)

    return Subject(entry=located.entry, files=located, load=load)


def _loaded(model: Model) -> Subject:
    if model.entry is None:
        raise ZooError(
            f"this {type(model.module).__name__} has no record of what it takes and gives: save it with "
            "zoo.save(model, directory, inputs=..., preprocess=..., labels=...), and load that with module=."
        )
    if model.origin.pretrained is False:
        _log.warning(
            "%s has random weights; pretrained=True, or the name instead of the model, loads trained ones.",
            model.entry.name,
        )
    files = model.origin.located
    if files is None and model.entry.name in manifest.read().models:
        files = Located(entry=manifest.read().models[model.entry.name])
    return Subject(entry=model.entry, files=files, load=partial(_changed, model))


def _changed(model: Model, **config: Any) -> Model:
    """Returns the model with the module that a changed config makes, for the same arrays."""
    if not config:
        return model
    assert model.entry is not None
    module, entry = build(model.entry, dtype=getattr(model.module, "dtype", None), config=config)
    return replace(model, module=module, entry=entry)
