"""Sound from WAV files and arrays: one channel of float32 in [-1, 1], at the rate that a model takes."""

import os
import wave
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo._errors import ZooError
from zoo._preprocessing.resample import resampled

Wave: TypeAlias = NDArray[np.float32]
Sound: TypeAlias = str | os.PathLike[str] | np.ndarray | jax.Array | Sequence[float]
Sounds: TypeAlias = Sound | Iterable[Sound]

LOUDEST = 100.0  # samples beyond are whole numbers that were only cast
ADVICE = "`ffmpeg -i FILE -ac 1 -ar 16000 -c:a pcm_s16le OUT.wav` makes one that can be read"


def waves(speech: Sounds, rate: int, sampling_rate: int | None = None) -> list[Wave]:
    """Returns the samples of one sound or several, each (samples,) float32 at `rate` a second.

    Args:
        speech: Names of WAV files, or arrays (samples,) of floats in [-1, 1].
        rate: Samples a second of the result.
        sampling_rate: Samples a second of arrays; files say theirs.

    Raises:
        ZooError: a file cannot be read, or an array is no sound.
    """
    several = _several(speech)
    if not several:
        raise ZooError("no speech; give at least one file or array.")
    found = []
    for each in several:
        if isinstance(each, str | os.PathLike):
            samples, own = read_wav(each)
        else:
            samples, own = _checked(each), _rate(sampling_rate)
        found.append(resampled(samples, own, rate))
    return found


def read_wav(path: str | os.PathLike[str]) -> tuple[Wave, int]:
    """Reads a WAV file of 8, 16, 24 or 32 bits: the mean of its channels, and its samples a second.

    Raises:
        ZooError: it cannot be read, is of another kind, or is cut off.
    """
    name = repr(os.fspath(path))
    try:
        with wave.open(os.fspath(path), "rb") as file:
            channels, width, rate, count = file.getparams()[:4]
            content = file.readframes(count)
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise ZooError(f"{name} is no WAV file of whole numbers ({reason}); {ADVICE}.") from error
    except OSError as error:
        raise ZooError(f"{name} cannot be read: {error.strerror or error}.") from error
    if not count or not rate or len(content) != count * channels * width:
        has = len(content) // (channels * width)
        raise ZooError(f"{name} has {has:,} samples of {count:,} at {rate:,} a second; {ADVICE}.")
    return _floats(content, width).reshape(-1, channels).mean(1).astype(np.float32), rate


def _floats(content: bytes, width: int) -> Wave:
    """Returns PCM samples of so many bytes as floats in [-1, 1)."""
    if width == 1:  # unsigned, unlike all others
        return ((np.frombuffer(content, np.uint8) - 128.0) / 128).astype(np.float32)
    if width == 3:
        lowest = np.zeros((len(content) // 3, 4), np.uint8)
        lowest[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        content, width = lowest.tobytes(), 4
    return (np.frombuffer(content, f"<i{width}") / 2.0 ** (8 * width - 1)).astype(np.float32)


def _several(speech: Sounds) -> list[Sound]:
    """Returns a list of sounds, of one where there is one."""
    if isinstance(speech, str | os.PathLike | np.ndarray | jax.Array):
        return [speech]
    listed = [*speech]
    if listed and all(np.ndim(each) == 0 and not isinstance(each, str | os.PathLike) for each in listed):
        return [np.asarray(listed, np.float32)]
    return listed


def _rate(sampling_rate: int | None) -> int:
    if (
        isinstance(sampling_rate, bool)
        or not isinstance(sampling_rate, int | np.integer)
        or sampling_rate < 1
    ):
        raise ZooError(
            f"sampling_rate={sampling_rate!r} of an array; expected its samples a second, such as "
            "sampling_rate=16000."
        )
    return int(sampling_rate)


def _checked(samples: ArrayLike) -> Wave:
    """Returns an array of samples as float32."""
    array = np.asarray(samples)
    if array.ndim != 1 or not array.size:
        raise ZooError(
            f"speech of shape {array.shape}; expected (samples,), one channel: the mean of several, such as "
            "speech.mean(0), or several sounds in a list."
        )
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
        raise ZooError(f"speech of {array.dtype}; expected floats in [-1, 1]: divide 16 bits by 32768.0.")
    array = array.astype(np.float32)
    largest = float(np.abs(array).max())
    if not largest <= LOUDEST:
        raise ZooError(
            f"speech has values up to {largest:g}; expected floats in [-1, 1]: divide 16 bits by 32768.0."
        )
    return array
