"""Preprocessing of pictures for a module of your own, in the forms that callers may pass."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

from zoo._errors import ManifestError, ZooError
from zoo._loading import preprocessor_config
from zoo._loading.resolve import info
from zoo._loading.sentence_transformers import parsed
from zoo._registry.entry import Digits, Photos, Preprocess
from zoo._registry.entry_schema import check_preprocess

# Of an entry's preprocessing; "crop" and others have other names in a preprocessor_config.json.
FIELDS = {field.name for kind in (Digits, Photos) for field in fields(kind)}
Preprocessing: TypeAlias = Preprocess | Mapping[str, Any] | str | os.PathLike[str]


def preprocessing(how: Preprocessing) -> Preprocess:
    """Returns what callers say.

    Args:
        how: A name that `load` takes, of a model with the same preprocessing; a file such as
            preprocessor_config.json, or its content; a mapping of the fields that entries of the manifest
            have: resize, crop, interpolation, mean and std.

    Raises:
        ZooError: it says nothing of the kind.
    """
    if isinstance(how, Digits | Photos):
        return how
    if not isinstance(how, str | os.PathLike | Mapping):
        raise ZooError(f"preprocess={how!r}; expected a name, a file, or a mapping of fields such as resize.")
    if isinstance(how, str | os.PathLike) and not os.path.isfile(how):
        found = info(how).preprocess
        if found is None:
            raise ZooError(f"{os.fspath(how)!r} does not say how images become its input.")
        return found
    said = dict(how) if isinstance(how, Mapping) else parsed(os.fspath(how), Path(how).read_bytes(), dict)
    content = json.dumps(said)
    if said.keys() & FIELDS or not said.keys() & preprocessor_config.FIELDS:
        problems: list[str] = []
        # JSON has lists where callers have tuples.
        checked: Preprocess = check_preprocess(json.loads(content), "preprocess", problems)
        if problems:
            raise ManifestError("\n  ".join(["preprocess= is wrong:", *problems]))
        return checked
    mean = said.get("image_mean")
    channels = len(mean) if isinstance(mean, list | tuple) else 3
    return preprocessor_config.photos("preprocess=", content.encode(), "ViTImageProcessor", channels)
