"""Windows of images that attention stays within, and what it adds for places inside them."""

from typing import Any, TypeAlias

import jax
import numpy as np

Window: TypeAlias = tuple[int, int]  # height and width, in pixels of the map
HIDDEN = -100.0  # what published models add to the logits of pixels that are not to attend to each other


def partition(x: Any, window: Window) -> Any:
    """(batch, height, width, channels) -> (batch, windows, pixels, channels), row by row."""
    batch, height, width, channels = x.shape
    down, across = window
    x = x.reshape(batch, height // down, down, width // across, across, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, down * across, channels)


def join(x: jax.Array, window: Window, sides: tuple[int, int]) -> jax.Array:
    """(batch, windows, pixels, channels) -> (batch, *sides, channels), the inverse of `partition`."""
    (down, across), (height, width) = window, sides
    x = x.reshape(x.shape[0], height // down, width // across, down, across, -1)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0], height, width, -1)


def offsets(window: Window) -> np.ndarray:
    """Returns (offsets, 2), all that a pixel can be below and right of another one, in order."""
    down, across = (np.arange(1 - size, size) for size in window)
    return np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)


def offset_indices(window: Window) -> np.ndarray:
    """Returns (pixels, pixels), the index among `offsets` of a pixel's offset from another one."""
    places = np.indices(window).reshape(2, -1)
    down, across = places[:, :, None] - places[:, None, :]
    indices: np.ndarray = (down + window[0] - 1) * (2 * window[1] - 1) + across + window[1] - 1
    return indices


def position_bias(table: jax.Array, window: Window) -> jax.Array:
    """(offsets, heads) numbers, learned or computed -> (heads, pixels, pixels)."""
    return table[offset_indices(window)].transpose(2, 0, 1)


def region_bias(sides: tuple[int, int], window: Window, shift: tuple[int, int]) -> np.ndarray:
    """Returns (windows, pixels, pixels), HIDDEN for pixels that are neighbors only since a shift moved them.

    Liu et al., https://arxiv.org/abs/2103.14030, figure 4.
    """

    def regions(side: int, size: int, by: int) -> np.ndarray:
        at = np.arange(side)
        return (at >= side - size).astype(int) + (at >= side - by) if by else np.zeros(side, int)

    down, across = (regions(*each) for each in zip(sides, window, shift, strict=True))
    of_pixels = partition((3 * down[:, None] + across)[None, ..., None], window)[0, :, :, 0]
    return np.where(of_pixels[:, :, None] == of_pixels[:, None, :], 0.0, HIDDEN)
