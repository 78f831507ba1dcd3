"""A model, or the name of one: what functions that take both are called with."""

import os
from typing import Any, TypeAlias

from zoo._errors import ZooError
from zoo._loading.load import load
from zoo._loading.located import Located
from zoo._loading.nnx_model import in_linen
from zoo._loading.resolve import Name
from zoo._model import Model, record_of
from zoo._registry import manifest
from zoo._registry.entry import Entry

Given: TypeAlias = Name | Model


def model_of(given: Given) -> Model:
    """Returns the linen model itself, that of an NNX module, or the one of that name with its weights.

    Raises:
        ZooError: it is neither, or nothing has the name.
    """
    given = in_linen(given)
    if isinstance(given, Model):
        return given
    check_given(given)
    return load(given, pretrained=True)


def files_of(model: Model) -> Located:
    """Returns where the files beside a model's weights are, such as its tokenizer.

    Raises:
        ZooError: nobody knows.
    """
    found = known_files(model)
    if found is None:
        raise unknown_files(record_of(model))
    return found


def known_files(model: Model) -> Located | None:
    """Returns where the files beside a model's weights are; None where nobody knows."""
    models, entry = manifest.read().models, record_of(model)
    named = Located(entry=models[entry.name]) if entry.name in models else None
    return model.origin.located or named


def unknown_files(entry: Entry) -> ZooError:
    """Returns the error for a model whose files nobody knows."""
    return ZooError(
        f"nothing says where the tokenizer of {entry.name!r} is: take the model as zoo.load gives it, or "
        "change that by model.replace(variables=...)."
    )


def check_given(given: Any) -> None:
    """Checks that something is a model or may be the name of one.

    Raises:
        ZooError: it is neither.
    """
    if not isinstance(given, str | os.PathLike | Model):
        raise ZooError(
            f"found {type(given).__name__}, expected a model or its name, such as 'resnet18': "
            "zoo.load(name, pretrained=True) makes one, and zoo.Model(module, variables) of variables."
        )
