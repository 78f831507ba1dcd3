"""Other files of a model beside its weights: tokenizer.json, golden outputs, configurations."""

from dataclasses import replace
from pathlib import Path

from zoo._errors import WeightsError
from zoo._hub import errors, hub_file, remote_file
from zoo._hub.errors import NetworkError
from zoo._hub.settings import Token
from zoo._loading.located import Located
from zoo._registry import packaged
from zoo._registry.entry import UNATTESTED, Weights
from zoo._registry.manifest import MAX_SIZE

TOKENIZER = "tokenizer.json"
LIMIT = 64_000_000  # bytes


def companion(located: Located, file: str, limit: int = LIMIT, *, at_root: bool = False) -> bytes | None:
    """Reads another file of a model: of its repository or directory, or bundled as `NAME.file`.

    Args:
        located: The model.
        file: The name of the file, such as tokenizer.json.
        limit: Largest size of a file that is downloaded, in bytes.
        at_root: Where the weights are in a folder of the repository or directory, such as 0_Transformer,
            whether to look at its top instead of beside them.

    Returns:
        The content; None if there is no such file.

    Raises:
        WeightsError: the repository cannot be reached.
    """
    entry, weights, directory = located.entry, located.entry.weights, located.directory
    folder = Path(str(weights.file)).parent if weights and weights.file and not at_root else Path()
    if weights and weights.repo:
        return remote_companion(entry.name, weights, located.token, (folder / file).as_posix(), limit)
    stem = Path(weights.file).stem if weights and weights.file else entry.name
    path = directory / folder / file if directory else packaged.weights_path(f"{stem}.{file}")
    return path.read_bytes() if path.is_file() else None


def remote_companion(
    name: str, beside: Weights, token: Token, file: str, limit: int = MAX_SIZE
) -> bytes | None:
    """Another file of the repository; None where it has none of that name.

    Raises:
        WeightsError: nobody can say.
    """
    weights = replace(beside, file=file, sha256=UNATTESTED, size=None)
    source = hub_file.HubFile(name=name, weights=weights, token=token, limit=limit)
    if source.cached() is None and not exists(name, source):
        return None
    return remote_file.read(source)[0].tobytes()


def exists(name: str, source: hub_file.HubFile) -> bool:
    """Returns whether the repository has the file; notes a missing one in the cache, as the Hub's client."""
    if source.absent():
        return False
    try:
        errors.check_online(errors.fetch_advice(name))
        source.check_exists()
    except errors.MissingError:
        source.note_absent()
        return False
    except NetworkError as trouble:
        raise WeightsError(f"{source.address} cannot be looked up: {trouble}.") from None
    return True
