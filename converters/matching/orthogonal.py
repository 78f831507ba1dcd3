"""The weights of `torch.nn.utils.parametrizations.orthogonal`, from what it trains and back, in float64."""

import numpy as np

from converters.errors import ConversionError

# Of the columns' products with each other; more is no rounding of a float32 weight.
ORTHOGONAL = 1e-3


def _matrix_exp(skew: np.ndarray) -> np.ndarray:
    # i times a skew-symmetric matrix is Hermitian: its eigenvectors are exact to rounding.
    values, vectors = np.linalg.eigh(1j * skew)
    found: np.ndarray = (
        (vectors * np.exp(-1j * values)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    ).real
    return found


def _cayley(skew: np.ndarray) -> np.ndarray:
    eye = np.eye(skew.shape[-1])
    found: np.ndarray = np.linalg.solve(eye - skew / 2, eye + skew / 2)
    return found


def _householder(tall: np.ndarray) -> np.ndarray:
    """The first columns of a product of reflections; the diagonal holds signs of the columns."""
    rows, columns = tall.shape[-2:]
    below = np.tril(tall, -1)
    scales = 2 / (1 + (below**2).sum(-2))
    vectors = below + np.eye(rows, columns)
    found = np.broadcast_to(np.eye(rows, columns), tall.shape).copy()
    for index in reversed(range(columns)):
        vector = vectors[..., index, None]
        found -= scales[..., index, None, None] * vector * (vector.swapaxes(-1, -2) @ found)
    found *= np.trunc(np.diagonal(tall, axis1=-2, axis2=-1))[..., None, :]
    return found


MAPS = {"matrix_exp": _matrix_exp, "cayley": _cayley, "householder": _householder}


def orthogonal_weight(original: np.ndarray, base: np.ndarray | None = None, *, map: str) -> np.ndarray:
    """Returns the weight in float64.

    Args:
        original: Matrix that PyTorch trains, (..., rows, columns).
        base: Factor of the map's result, (..., n, n), where n is the larger of both; None for none.
        map: One of MAPS.
    """
    wide = original.shape[-2] < original.shape[-1]
    tall = original.astype(np.float64)
    tall = tall.swapaxes(-1, -2) if wide else tall
    if map == "householder":
        found = _householder(tall)
    else:
        rows, columns = tall.shape[-2:]
        square = np.zeros((*tall.shape[:-1], rows))
        square[..., :columns] = np.tril(tall)
        found = MAPS[map](square - square.swapaxes(-1, -2))[..., :columns]
    if base is not None:
        found = base.astype(np.float64) @ found
    return found.swapaxes(-1, -2) if wide else found


def map_of(original: np.ndarray, base: np.ndarray | None) -> str:
    """Returns a map whose weight every map gives, as they do before training.

    Raises:
        ConversionError: they give different ones, and nothing in a file says which is right.
    """
    first, *others = (orthogonal_weight(original, base, map=name) for name in MAPS)
    if any(abs(each - first).max(initial=0) > 1e-12 for each in others):
        raise ConversionError(
            "orthogonal() computes it, by a map that the file does not name; give the rule "
            "converters.Orthogonalize(tensor, map) with 'matrix_exp', PyTorch's default for square weights, "
            "'householder', its default for others, or 'cayley'"
        )
    return next(iter(MAPS))


def orthogonal_parts(weight: np.ndarray, *, map: str, trivialized: bool) -> tuple[np.ndarray, ...]:
    """Returns the original, and the base if `trivialized`, of an orthogonal weight.

    Raises:
        ConversionError: the weight is not orthogonal, or PyTorch has no inverse of the map either.
    """
    wide = weight.shape[-2] < weight.shape[-1]
    tall = weight.astype(np.float64)
    tall = tall.swapaxes(-1, -2) if wide else tall
    rows, columns = tall.shape[-2:]
    error = abs(tall.swapaxes(-1, -2) @ tall - np.eye(columns)).max(initial=0)
    if error > ORTHOGONAL:
        raise ConversionError(
            f"a weight is not orthogonal, by {error:.1e}, which orthogonal() cannot give; "
            "leave the rule out to have the weight itself"
        )
    # Signs on the diagonal make the decomposition that of an orthogonal matrix the matrix itself.
    if trivialized:
        rest = np.linalg.svd(tall, full_matrices=True)[0][..., columns:]
        base = np.concatenate([tall, rest], -1) if rows > columns else tall
        original = np.broadcast_to(-np.eye(*weight.shape[-2:]), weight.shape)
        return original.astype(weight.dtype), base.astype(weight.dtype)
    if map != "householder":
        raise ConversionError(f"{map} has an inverse only with trivialized=True; leave the rule out")
    original = np.stack([_reflections(each) for each in tall.reshape(-1, rows, columns)]).reshape(tall.shape)
    return ((original.swapaxes(-1, -2) if wide else original).astype(weight.dtype),)


def _reflections(tall: np.ndarray) -> np.ndarray:
    """Householder vectors of one matrix below the diagonal, signs on it."""
    packed, scales = np.linalg.qr(tall, mode="raw")
    found = packed.T.copy()
    signs = np.sign(np.diagonal(found)) * np.where(scales == 0, -1.0, 1.0)
    np.fill_diagonal(found, signs)
    return np.tril(found)
