"""Speech to a model's input, as its preprocessor_config.json says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._loading.companions import companion
from zoo._loading.located import Located
from zoo._loading.sentence_transformers import parsed
from zoo._loading.text_settings import HEARING
from zoo._preprocessing.log_mel import log_mel
from zoo._preprocessing.sound import Wave
from zoo._registry.entry import SPECTROGRAM, Entry

PREPROCESSOR, PROCESSOR = HEARING
PART = "feature_extractor"  # of the second, which newer versions of transformers write
KINDS = {True: "WhisperFeatureExtractor", False: "Wav2Vec2FeatureExtractor"}
# Attribute -> the only value that the zoo has.
FIXED = {"dither": 0.0, "padding_value": 0.0, "padding_side": "right"}


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """From samples to a model's input.

    Attributes:
        rate: Samples a second that the model takes.
        window: Samples that it takes at a time; None for any number.
        bins: Mel bins of its spectrogram; None where it takes the samples themselves.
        size: Samples in a Fourier transform.
        hop: Samples between two frames.
        normalize: If true, samples have mean 0 and variance 1.
        masks: If true, the model was trained with a mask of padding.
    """

    rate: int = 16000
    window: int | None = None
    bins: int | None = None
    size: int = 400
    hop: int = 160
    normalize: bool = True
    masks: bool = False

    def __call__(self, waves: Sequence[Wave]) -> NDArray[np.float32]:
        """(samples,) each -> (count, frames, bins) of windows, the rest silence; or (count, samples).

        Raises:
            ZooError: samples of several lengths, where the model takes any number.
        """
        if self.window is not None and self.bins is not None:
            cut = [wave[: self.window] for wave in waves]
            padded = np.stack([np.pad(wave, (0, self.window - len(wave))) for wave in cut])
            return log_mel(padded, bins=self.bins, size=self.size, hop=self.hop, rate=self.rate)
        lengths = sorted({len(wave) for wave in waves})
        if len(lengths) > 1:
            raise ZooError(
                f"speech of {lengths[0]:,} to {lengths[-1]:,} samples; expected as many in each: silence at "
                "the end would change what the model hears. Give one at a time."
            )
        return np.stack([_normal(wave) if self.normalize else wave for wave in waves])


def hearing(entry: Entry, files: Located | None) -> Hearing:
    """Returns how speech becomes the input of a model.

    Args:
        entry: Its record.
        files: Where the files beside its weights are, if they are known.

    Raises:
        ManifestError: a file is none of JSON.
        ZooError: it asks for what the zoo does not do, or for another spectrogram than the model takes.
    """
    said = _said(files) if files is not None else {}
    first = entry.inputs[0]
    spectrogram = first.name == SPECTROGRAM
    kind = said.get("feature_extractor_type", KINDS[spectrogram])
    others = {name: said[name] for name, value in FIXED.items() if said.get(name, value) != value}
    if kind != KINDS[spectrogram] or others:
        raise ZooError(
            f"the {PREPROCESSOR} of {entry.name!r} says {kind} {others or ''}; the zoo has "
            f"{KINDS[spectrogram]} with {FIXED}."
        )
    rate = int(said.get("sampling_rate", Hearing.rate))
    if not spectrogram:
        normalize, masks = said.get("do_normalize", True), said.get("return_attention_mask", False)
        return Hearing(rate=rate, normalize=bool(normalize), masks=bool(masks))
    hop, frames = int(said.get("hop_length", Hearing.hop)), first.shape[1]
    bins, window = int(said.get("feature_size", first.shape[2])), frames * hop
    window = int(said.get("chunk_length", window / rate) * rate)
    if (window // hop, bins) != first.shape[1:]:
        raise ZooError(
            f"the {PREPROCESSOR} of {entry.name!r} makes spectrograms of {window // hop} frames and {bins} "
            f"mel bins, and the model takes {frames} and {first.shape[2]}; they do not belong together."
        )
    return Hearing(rate=rate, window=window, bins=bins, size=int(said.get("n_fft", Hearing.size)), hop=hop)


def _said(files: Located) -> Mapping[str, Any]:
    """Returns the attributes of the file of a feature extractor; none where there is no such file."""
    name, read = files.entry.name, partial(companion, files)
    for file in (PREPROCESSOR, PROCESSOR):
        content = read(file)
        if content is not None:
            found: Mapping[str, Any] = parsed(f"{name}: {file}", content, dict)
            return found if file == PREPROCESSOR else found.get(PART, {})
    return {}


def _normal(wave: Wave) -> Wave:
    """Returns samples with mean 0 and variance 1, but for silence."""
    samples = wave.astype(np.float64)
    made: Wave = ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)
    return made
