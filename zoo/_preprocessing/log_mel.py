"""Log-mel spectrograms of Whisper: Radford et al., https://arxiv.org/abs/2212.04356, section 2.2."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

HIGHEST = 8000.0  # hertz, of the highest mel bin
FLOOR, RANGE = 1e-10, 8.0  # least power, and powers of ten below the loudest bin that are kept
# Slaney's scale (Auditory Toolbox, 1998): linear up to 1000 Hz, at 15 mels, then 27 mels for a factor of 6.4.
LINEAR, KNEE, STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def log_mel(
    waves: np.ndarray, *, bins: int, size: int = 400, hop: int = 160, rate: int = 16000
) -> NDArray[np.float32]:
    """(count, samples) floats in [-1, 1] -> (count, samples / hop, bins) float32.

    Args:
        waves: Samples, as many of each.
        bins: Number of mel bins.
        size: Samples in a frame's Fourier transform.
        hop: Samples from a frame to the next one.
        rate: Samples a second.
    """
    filters, half = mel_filters(bins, size, rate), size // 2
    window = np.hanning(size + 1)[:-1]  # periodic
    found = []
    for wave in waves.astype(np.float64):
        # The last frame is centered behind the last hop, and left out.
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, half, mode="reflect"), size)
        spectrum = np.fft.rfft(frames[::hop][: len(wave) // hop] * window)
        powers = np.log10(np.maximum(np.square(np.abs(spectrum)) @ filters, FLOOR))
        found.append((np.maximum(powers, powers.max() - RANGE) + 4) / 4)
    return np.stack(found).astype(np.float32)


@cache
def mel_filters(bins: int, size: int, rate: int) -> np.ndarray:
    """(size // 2 + 1, bins) triangles on Slaney's mel scale, each of area 2 / its width in hertz."""
    frequencies = np.linspace(0, rate // 2, size // 2 + 1)
    corners = _hertz(np.linspace(0, _mels(HIGHEST), bins + 2))
    slopes = corners[None] - frequencies[:, None]
    widths = np.diff(corners)
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    triangles: np.ndarray = np.maximum(0, np.minimum(rising, falling)) * 2 / (corners[2:] - corners[:-2])
    return triangles


def _mels(hertz: float) -> float:
    return hertz / LINEAR if hertz < KNEE else KNEE / LINEAR + float(np.log(hertz / KNEE)) / STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    knee = KNEE / LINEAR
    return np.where(mels < knee, mels * LINEAR, KNEE * np.exp(STEP * (mels - knee)))
