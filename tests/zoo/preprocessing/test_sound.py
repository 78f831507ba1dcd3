"""Sound: files of all widths, other rates, and the spectrograms of transformers."""

import math

import numpy as np
import pytest
from scipy.signal import resample_poly  # comes with jax

import zoo
from tests.zoo.inference.test_transcribe import RATE, noise, write
from zoo._preprocessing.log_mel import log_mel
from zoo._preprocessing.resample import resampled
from zoo._preprocessing.sound import read_wav, waves


@pytest.mark.parametrize(("width", "levels"), [(1, 128), (2, 2**15), (3, 2**23), (4, 2**31)])
def test_samples_of_every_width_are_read(tmp_path, width, levels):
    wanted = np.array([[-1.0, -0.5], [0.25, 0.0], [1 - 1 / 128, -1 / 128]])
    whole = np.round(wanted * levels).astype(np.int64) + (128 if width == 1 else 0)
    content = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    path = write(tmp_path / "stereo.wav", content, rate=8000, channels=2, width=width)
    samples, rate = read_wav(path)
    assert (rate, samples.dtype) == (8000, np.float32)
    np.testing.assert_allclose(samples, wanted.mean(1), rtol=1e-7)


@pytest.mark.parametrize("old", [8000, 11025, 44100, 48000])
def test_other_rates_become_the_models_by_scipys_filter(old):
    shared = math.gcd(old, RATE)
    for count in (1, 5, 1234):
        wave = noise(1)[:count].astype(np.float64)
        wanted = resample_poly(wave, RATE // shared, old // shared)
        np.testing.assert_allclose(resampled(wave, old, RATE), wanted, atol=1e-12)


@pytest.mark.parametrize("bins", [80, 128])
def test_spectrograms_are_those_of_transformers(bins):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=bins, chunk_length=2)
    times = np.arange(2 * RATE) / RATE
    sounds = np.stack([noise(2), 0.5 * np.sin(2 * np.pi * (100 + 300 * times) * times), 0 * times])
    found = log_mel(sounds.astype(np.float32), bins=bins).swapaxes(1, 2)
    # In float64, as transformers without torch; with it, tones differ by 6e-5 from that.
    exact = extractor._np_extract_fbank_features(sounds.astype(np.float32), "cpu")
    assert np.abs(found - exact).max() <= 1e-6
    usual = extractor(sounds[0], sampling_rate=RATE, return_tensors="np").input_features
    assert found.dtype == np.float32
    assert np.abs(found[:1] - usual).max() <= 1e-5


def cut_off(path):
    write(path, np.zeros(50, "<i2"))
    path.write_bytes(path.read_bytes()[:-20])


def floats(path):
    content = bytearray(write(path, np.zeros(50, "<i2")).read_bytes())
    content[20] = 3  # the format of floats
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"ID3 no sound"), "is no WAV file of whole numbers .*ffmpeg"),
        (lambda path: path.write_bytes(b""), "is no WAV file of whole numbers .it ends too early"),
        (lambda path: write(path, np.zeros(0, "<i2")), "has 0 samples of 0 at 16,000"),
        (cut_off, "has 40 samples of 50|ends too early"),
        (floats, "unknown format: 3.*ffmpeg"),
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_no_sound_gets_one_clear_error(tmp_path, make, message):
    path = tmp_path / "speech.wav"
    make(path)
    with pytest.raises(zoo.ZooError, match=message):
        waves(path, RATE)


@pytest.mark.parametrize(
    ("speech", "message"),
    [
        ([], "no speech"),
        (np.zeros((2, 100)), r"speech of shape \(2, 100\); expected \(samples,\)"),
        (np.zeros(100, np.int16), "speech of int16; expected floats"),
        (np.full(100, 3000.0), "values up to 3000; expected floats"),
        (np.full(100, np.nan), "values up to nan; expected floats"),
    ],
    ids=str,
)
def test_an_array_that_is_no_sound_is_refused(speech, message):
    with pytest.raises(zoo.ZooError, match=message):
        waves(speech, RATE, RATE)
