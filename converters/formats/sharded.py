"""Checkpoints in several files with an index, and directories as on the Hugging Face Hub."""

import os
import re
from pathlib import Path
from typing import Any

from converters.errors import CheckpointError
from converters.formats.detect import SUFFIXES
from converters.formats.file_names import INDEX_SUFFIX, PREFERRED_FILES, SHARD_SUFFIXES
from converters.io.files import InputFile, named_errors
from converters.io.json import decode_json

INDEX_SUFFIXES = {suffix + INDEX_SUFFIX: suffix for suffix in SHARD_SUFFIXES}
MAX_INDEX = 16_000_000
OTHERS = {
    "adapter_config.json": "adapter weights of PEFT, not a full model; load them on their base model there, "
    "and save model.merge_and_unload()",
    ".metadata": "a distributed checkpoint of torch (DCP); make one file of it with "
    "python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY weights.pth",
    "_CHECKPOINT_METADATA": "an Orbax checkpoint without arrays",
    "tf_model.h5": "TensorFlow weights",
}
ONNX = "ONNX programs alone, no state dict; ask for the PyTorch weights that they were exported from"


def file_in(directory: Path) -> tuple[Path, tuple[str, ...]]:
    """The file or index to read in a directory, and a note about others that it could have been."""
    with named_errors(directory):
        names = sorted(os.listdir(directory))
        candidates = [name for name in PREFERRED_FILES if name in names]
        if not candidates:
            candidates = [name for name in names if name.endswith(SUFFIXES)]
            others = [what for name, what in OTHERS.items() if name in names]
            if not candidates and any(name == "onnx" or name.endswith(".onnx") for name in names):
                others.append(ONNX)
            if others or not candidates:
                raise CheckpointError(f"holds {others[0] if others else 'no checkpoint'}; name a file")
            if len(candidates) > 1:
                raise CheckpointError(
                    f"holds several checkpoints: {', '.join(candidates[:10])}; name one of them"
                )
    taken, *rest = candidates
    notes = (f"took {taken!r}",) + ((f"left out {', '.join(rest)}",) if rest else ())
    return directory / taken, notes


def shards_of(path: Path) -> dict[str, set[str]]:
    """The shards' plain file names and the names of their tensors; the shards need not be there.

    Raises:
        CheckpointError: the index is malformed, or leads out of its directory.
    """
    with named_errors(path):
        suffix = next((suffix for end, suffix in INDEX_SUFFIXES.items() if path.name.endswith(end)), None)
        if suffix is None:
            raise CheckpointError(f"expected a name that ends in one of {', '.join(INDEX_SUFFIXES)}")
        shards: dict[str, set[str]] = {}
        for name, shard in _weight_map(path).items():
            shards.setdefault(shard, set()).add(name)
        for shard in shards:
            _check_name(shard, suffix, path.parent)
        return shards


def hashes_of(path: Path) -> dict[str, str]:
    """The shards' sha256 by their names, where the index says it, as one of `zoo.save` does."""
    with named_errors(path):
        metadata = _decoded(path).get("metadata")
        hashes = metadata.get("sha256", {}) if isinstance(metadata, dict) else {}
        shards = set(_weight_map(path).values())
        if not isinstance(hashes, dict) or not all(
            name in shards and isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
            for name, digest in hashes.items()
        ):
            raise CheckpointError(f"is not an index: its sha256 are {str(hashes)[:200]}")
        return hashes


def read_index(path: Path) -> dict[Path, set[str]]:
    """Each shard's path and the names of its tensors.

    Raises:
        CheckpointError: the index is malformed, leads out of its directory, or shards are missing.
    """
    shards = shards_of(path)
    with named_errors(path):
        missing = [shard for shard in shards if not (path.parent / shard).exists()]
        if missing:
            raise CheckpointError(f"{len(missing)} of {len(shards)} shards missing: {', '.join(missing[:5])}")
        return {path.parent / shard: names for shard, names in shards.items()}


def check_shards(path: Path, expected: dict[Path, set[str]], found: dict[Path, set[str]]) -> None:
    """Compares what the shards hold with what the index says, all in one error."""
    problems = []
    for shard, names in expected.items():
        lacking, extra = sorted(names - found[shard]), sorted(found[shard] - names)
        if lacking:
            problems.append(f"{shard.name!r} lacks {len(lacking)} of the index's: {_listed(lacking)}")
        if extra:
            problems.append(f"{shard.name!r} has {len(extra)} not in the index: {_listed(extra)}")
    if problems:
        with named_errors(path):
            raise CheckpointError("; ".join(problems[:10]))


def _decoded(path: Path) -> dict[str, Any]:
    file = InputFile(path)
    if file.size > MAX_INDEX:
        raise CheckpointError(f"has {file.size:,} bytes, the limit is {MAX_INDEX:,}")
    index = decode_json(file.read(0, file.size), "is not an index")
    return index if isinstance(index, dict) else {}


def _weight_map(path: Path) -> dict[str, str]:
    entries = _decoded(path).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise CheckpointError("is not an index: it has no 'weight_map' of names to files")
    if not all(isinstance(shard, str) for shard in entries.values()):
        raise CheckpointError("is not an index: its 'weight_map' has values that are no file names")
    return entries


def _check_name(shard: str, suffix: str, directory: Path) -> None:
    """Plain names only, of the index's own kind, that lead to a file of this directory."""
    plain = shard == os.path.basename(shard) and not set(shard) & set("\\:\0") and not shard.startswith(".")
    if not plain or not shard.endswith(suffix):
        raise CheckpointError(f"the shard {shard[:200]!r} is no plain file name that ends in {suffix!r}")
    home = directory.resolve()
    # In the Hub's cache every file is a link into a directory beside the revisions'.
    if (directory / shard).resolve().parent not in (home, home.parent.parent / "blobs"):
        raise CheckpointError(f"the shard {shard[:200]!r} is a link out of its directory")


def _listed(names: list[str]) -> str:
    return ", ".join(name[:100] for name in names[:5])
