"""The forms in which `zoo.save` keeps variables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters import write_checkpoint
from converters.formats import INDEX_FILE, WEIGHTS_FILE, safetensors
from zoo._errors import WeightsError
from zoo._processes import ProcessGroup
from zoo._saving import shards

FILES = {  # of a directory with a config.json
    "zoo": WEIGHTS_FILE,
    "safetensors": WEIGHTS_FILE,
    "msgpack": "model.msgpack",
    "npz": "model.npz",
}
ORBAX, TRANSFORMERS = "orbax", "transformers"
FORMATS = (*FILES, ORBAX, TRANSFORMERS)


def put(path: Path, arrays: Mapping[str, Any], format: str, processes: ProcessGroup) -> None:
    """Writes arrays by path: one file, or several with an index where they are spread over devices.

    Args:
        path: Path of the file in safetensors, beside which others go.
        arrays: The arrays.
        format: One of `FILES`.
        processes: The processes that do so together.
    """
    if FILES[format] != WEIGHTS_FILE:
        if processes.distributed:
            raise WeightsError(f"format={format!r} keeps one file; spread arrays go into format='zoo'")
        write_checkpoint(arrays, path.with_name(FILES[format]))
    elif processes.distributed:
        shards.write(path.parent, arrays, processes)
    else:
        safetensors.write(path, arrays)


def written(directory: Path) -> str:
    """Returns the name of the file of weights, or of the index of several, in a directory."""
    names = dict.fromkeys((*FILES.values(), INDEX_FILE))
    return next(name for name in names if (directory / name).exists())


def write_orbax(directory: Path, variables: Mapping[str, Any], *, overwrite: bool) -> None:
    """Writes a checkpoint of Orbax.

    Raises:
        WeightsError: it cannot be written, or something is there.
    """
    import orbax.checkpoint as ocp  # half a second, which the other formats do without

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(directory.absolute(), dict(variables), force=overwrite)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{str(directory)!r} cannot be saved: {error}") from error
