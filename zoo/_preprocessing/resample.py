"""Samples at another rate, through a windowed sinc in polyphase form.

The filter is that of scipy.signal.resample_poly: Kaiser window with beta = 5, cut at the lower of the two
Nyquist frequencies, ten zero crossings of the sinc on each side.
"""

from math import gcd

import numpy as np

ZEROS, BETA = 10, 5.0


def resampled(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """(samples,) at one rate -> (ceil(samples * new / old),) at another; beyond the ends is silence.

    Args:
        wave: (samples,) floats.
        old: Their number a second.
        new: The number a second of the result.
    """
    shared = gcd(old, new)
    up, down = new // shared, old // shared
    if up == down:
        return wave
    half = ZEROS * max(up, down)
    taps = _filter(up, down, half)
    count = -(-len(wave) * up // down)
    # Output n is at n * down / up: the samples before it weigh with every up-th tap from its phase on.
    reach = -(-len(taps) // up)
    places = np.arange(count) * down + half
    first = places // up
    padded = np.pad(wave.astype(np.float64), (reach - 1, max(0, int(first[-1]) - len(wave) + 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    found = np.empty(count)
    for start in range(min(up, count)):  # outputs that are `up` apart have the same phase
        phase = np.zeros(reach)
        own = taps[places[start] % up :: up]
        phase[: len(own)] = own
        found[start::up] = windows[first[start::up]] @ phase[::-1]
    return found.astype(wave.dtype)


def _filter(up: int, down: int, half: int) -> np.ndarray:
    """Returns 2 * half + 1 taps at `up` times the old rate, of which `up` make each output."""
    cut = 1 / max(up, down)
    taps = np.sinc(cut * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, BETA)
    scaled: np.ndarray = taps * (up / taps.sum())
    return scaled
