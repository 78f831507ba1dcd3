"""Arrays in files of JAX's own users, by paths as the zoo's files have them: `params/encoder/kernel`.

A file may hold a whole training state, or params alone. Which arrays are a model's is chosen here, for every
format that keeps trees.
"""

import re
from collections.abc import Mapping

from converters.errors import CheckpointError
from converters.formats.containers import NO_WEIGHTS
from converters.formats.stored import Opened, Stored
from converters.formats.tensor_names import check_names

Path = tuple[str, ...]
PARAMS = "params"
OPTAX = "opt_states?"  # the usual name of its states; others are those that PyTorch's users choose, too
FORM = "read as arrays of Flax, by their own paths"


def open_tree(leaves: Mapping[Path, Stored], key: str | None = None) -> Opened:
    """Returns the arrays of a model among those of a tree.

    Args:
        leaves: All arrays of a file by path.
        key: Path of the model's part, with dots or slashes, where there are several.

    Raises:
        CheckpointError: there are none, or several models.
    """
    plain = _without_boxes(leaves)
    inside, notes = _part(plain, key)
    if not any(path[0] == PARAMS for path in inside):
        # Params alone, or the state of an NNX module, whose collections only the module itself can tell.
        inside = {(PARAMS, *path): leaf for path, leaf in inside.items()}
    wrong = next((name for path in inside for name in path if not name or "/" in name), None)
    if wrong is not None:
        raise CheckpointError(f"has an array with {wrong[:80]!r} in its path, which no module makes")
    names = {"/".join(path): leaf for path, leaf in inside.items()}
    check_names(names)
    return names, (FORM, *notes)


def _without_boxes(leaves: Mapping[Path, Stored]) -> dict[Path, Stored]:
    """Returns the leaves without the names of the boxes that NNX and partitioning put around arrays."""
    parents: dict[Path, int] = {}
    for path in leaves:
        parents[path[:-1]] = parents.get(path[:-1], 0) + 1
    return {
        path[:-1] if len(path) > 1 and path[-1] == "value" and parents[path[:-1]] == 1 else path: leaf
        for path, leaf in leaves.items()
    }


def _part(leaves: Mapping[Path, Stored], key: str | None) -> tuple[dict[Path, Stored], tuple[str, ...]]:
    """Returns the variables of the model in a tree, and what was left out beside them."""
    if key is not None:
        root = tuple(key.replace("/", ".").split("."))
        inside = {path[len(root) :]: leaf for path, leaf in leaves.items() if path[: len(root)] == root}
        inside = {path: leaf for path, leaf in inside.items() if path}
        if not inside:
            raise CheckpointError(f"has no arrays in {key!r}; choose {_listed({path[0] for path in leaves})}")
        return inside, ()
    weights = {path: leaf for path, leaf in leaves.items() if not any(map(_is_beside, path[:-1]))}
    roots = {path[: path.index(PARAMS)] for path in weights if PARAMS in path[:-1]}
    if len(roots) > 1:
        raise CheckpointError(
            f"has several models; choose one with key=: {_listed({'.'.join(root) for root in roots})}"
        )
    root = next(iter(roots), ())
    inside = {path[len(root) :]: leaf for path, leaf in weights.items() if path[: len(root)] == root}
    # The number of steps and the like; a model's own numbers are in collections.
    inside = {path: leaf for path, leaf in inside.items() if len(path) > 1 or (leaf.shape and not roots)}
    if not inside:
        raise CheckpointError(f"no model weights found; it has {_listed({path[0] for path in leaves})}")
    taken = {(*root, *path) for path in inside}
    rest = {path[0] for path in leaves if path not in taken}
    return inside, (f"left out {_listed(rest)}",) if rest else ()


def _is_beside(name: str) -> bool:
    return bool(NO_WEIGHTS.fullmatch(name) or re.fullmatch(OPTAX, name))


def _listed(names: set[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in sorted(names)[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "nothing"
