"""Checks tensor names: refuses quantised weights, adapters, and names that no module has."""

import re
import unicodedata
from collections.abc import Collection, Iterable

from converters.errors import CheckpointError

MAX_TENSORS = 150_000  # the largest published models have some 140,000
MAX_LENGTH = 1000  # characters
QUANTISED = re.compile(r".*(\.(qweight|qzeros|SCB|absmax|quant_map|weight_format)|\.quant_state\..*)")
ADAPTER = re.compile(r".*(lora_|\.lora\.|\.ia3_|adapter_).*|.*\.prompt_embeddings")


def check_names(names: Collection[object]) -> None:
    """Refuses names that no module has, and those of quantised weights."""
    if not names:
        raise CheckpointError("no tensors in it")
    if len(names) > MAX_TENSORS:
        raise CheckpointError(f"has {len(names):,} tensors, the limit is {MAX_TENSORS:,}")
    check_lengths(name for name in names if isinstance(name, str))
    texts: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str):
            raise CheckpointError(f"a tensor's name is {name!r}, expected a string")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise CheckpointError(f"the name {name!r} is no Unicode text")
        if "" in name.split("."):
            raise CheckpointError(f"the name {name!r} has an empty part; no module makes such names")
        other = texts.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise CheckpointError(f"the names {other!a} and {name!a} differ in their encoding only")
        if QUANTISED.fullmatch(name):
            raise CheckpointError(
                f"quantised weights (found {name!r}): not supported; use the unquantised ones"
            )


def check_whole(names: Collection[str]) -> None:
    """Refuses names that are all those of adapters, which change a model and are none."""
    if all(ADAPTER.fullmatch(name) for name in names):
        raise CheckpointError(
            f"adapter weights (found {next(iter(names))!r}), not a full model; merge them first"
        )


def check_lengths(names: Iterable[str]) -> None:
    """Refuses names that would fill a screen, and every message that has them."""
    for name in names:
        if len(name) > MAX_LENGTH:
            raise CheckpointError(
                f"the name {name[:40]!r}... has {len(name):,} characters, limit {MAX_LENGTH}"
            )


def are_flax(names: Iterable[str]) -> bool:
    """Returns whether names are those of Flax variables, `params/dense/kernel`, not of a state dict."""
    names = list(names)
    return all("/" in name for name in names) and any(name.startswith("params/") for name in names)
