"""The model that a verb is about: one by name, which is loaded when it is needed, or one that is loaded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import flax.linen as nn
from jax.typing import DTypeLike

from zoo._loading.build import build
from zoo._loading.given import check_given, known_files, unknown_files
from zoo._loading.load import load_located
from zoo._loading.located import Located
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import Name, resolve
from zoo._model import Model, record_of
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
            raise unknown_files(self.entry)
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
    given = in_linen(given)
    if isinstance(given, Model):
        return _loaded(given)
    if isinstance(given, Located):
        located = given
    else:
        check_given(given)
        located = resolve(given)

    def load(**config: Any) -> Model:
        return load_located(located, pretrained=True, dtype=dtype, module=module, config=config)

    return Subject(entry=located.entry, files=located, load=load)


def _loaded(model: Model) -> Subject:
    entry = record_of(model)
    if model.origin.pretrained is False:
        _log.warning(
            "%s has random weights; pretrained=True, or the name instead of the model, loads trained ones.",
            entry.name,
        )
    return Subject(entry=entry, files=known_files(model), load=partial(_changed, model))


def _changed(model: Model, **config: Any) -> Model:
    """Returns the model with the module that a changed config makes, for the same arrays."""
    if not config:
        return model
    module, entry = build(record_of(model), dtype=getattr(model.module, "dtype", None), config=config)
    return replace(model, module=module, entry=entry)
