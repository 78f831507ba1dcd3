"""Reads the files of sentence-transformers, which say how states become one vector per text."""

from collections.abc import Callable
from typing import Any

from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ManifestError

# Of the configuration of its pooling module -> `pooling` of the zoo.
POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
CHAINS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])


def keywords(name: str, read: Callable[[str], bytes | None]) -> dict[str, Any]:
    """The keywords of `create` that make embeddings; none where there is no modules.json.

    Raises:
        ManifestError: a module or an option that the zoo does not have.
    """
    content = read("modules.json")
    if content is None:
        return {}
    modules = parsed(f"{name}: modules.json", content, list)
    chain = [str(module.get("type")).rpartition(".")[2] for module in modules if isinstance(module, dict)]
    if chain not in CHAINS or modules[0].get("path"):
        known = " or ".join(" > ".join(known) for known in CHAINS)
        raise ManifestError(f"{name!r} makes embeddings by {' > '.join(chain)}; the zoo has {known}.")
    file = f"{modules[1].get('path')}/config.json"
    pooling = parsed(f"{name}: {file}", read(file) or b"", dict)
    modes = [option for option, value in pooling.items() if option.startswith("pooling_mode") and value]
    if len(modes) != 1 or modes[0] not in POOLING or pooling.get("include_prompt") is False:
        raise ManifestError(
            f"{name!r}: {file} asks for {dict(pooling)}; the zoo has one of {', '.join(POOLING)}."
        )
    return {"head": "embedding", "pooling": POOLING[modes[0]], "normalize": len(chain) == 3}


def parsed(place: str, content: bytes, kind: type) -> Any:
    """The JSON in a file.

    Raises:
        ManifestError: it is not JSON, or of another kind.
    """
    try:
        value = decode_json(content, "is not JSON")
    except CheckpointError as error:
        raise ManifestError(f"{place} {error}.") from error
    if not isinstance(value, kind):
        raise ManifestError(f"{place} holds a {type(value).__name__}, expected a {kind.__name__}.")
    return value
