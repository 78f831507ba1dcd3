"""Speech to text, as transformers writes it down with the same files."""

import json
import wave

import jax
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise
from tests.reference.speech_models import small_whisper
from zoo._inference import transcribe_windows
from zoo._loading.resolve import resolve
from zoo._preprocessing.speech import hearing
from zoo.cli.app import app

RATE = 16000
LANGUAGES = {"<|en|>": 44, "<|de|>": 45}
ENDS = (42, 14)
SETTINGS = {
    "decoder_start_token_id": 43,
    "eos_token_id": [*ENDS],
    "pad_token_id": 42,
    "lang_to_id": LANGUAGES,
    "task_to_id": {"translate": 46, "transcribe": 47},
    "no_timestamps_token_id": 48,
    "is_multilingual": True,
    "suppress_tokens": [1, 2, 9],
    "begin_suppress_tokens": [42, 5],
    "max_length": 20,
    "return_timestamps": False,
}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes, so that windows differ."""
    count = int(seconds * RATE)
    rng = np.random.default_rng(seed)
    return (rng.normal(size=count) * 0.3 * np.sin(np.arange(count) / 3000) ** 2).astype(np.float32)


def write(path, samples: np.ndarray, *, rate: int = RATE, channels: int = 1, width: int = 2):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory that transformers wrote, with a tokenizer, of a Whisper that hears a second at a time."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import WhisperFeatureExtractor

    directory = tmp_path_factory.mktemp("whisper")
    model = randomise(small_whisper(), 3, norms=1.0).float().eval()
    with torch.no_grad():  # tokens then depend on what was heard, and on their places
        model.model.decoder.embed_positions.weight *= 20
        for layer in model.model.decoder.layers:
            layer.encoder_attn.out_proj.weight *= 3
            layer.encoder_attn.q_proj.weight *= 4
    model.generation_config = type(model.generation_config)(**SETTINGS)
    model.save_pretrained(directory)
    extractor = WhisperFeatureExtractor(feature_size=10, chunk_length=1)
    extractor.save_pretrained(directory)
    words = {f"Ġw{index}" if index % 3 else f"s{index}": index for index in range(42)}
    tokens = Tokenizer(models.WordLevel(words, unk_token="s0"))
    tokens.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *LANGUAGES, "<|translate|>", "<|transcribe|>"]
    tokens.add_special_tokens([AddedToken(each, special=True) for each in (*special, "<|notimestamps|>")])
    tokens.add_tokens(["<|0.00|>"])
    tokens.save(str(directory / "tokenizer.json"))
    return directory, model, extractor, tokens


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"language": "de"},
        {"language": "en", "task": "translate"},
        {"task": "translate"},
        "old",
        "english",
    ],
    ids=str,
)
def test_tokens_are_those_of_transformers(saved, options):
    directory, model, extractor, _ = saved
    waves = [noise(0.7), noise(1.0, 1), noise(0.3, 2)]
    settings, more = {**SETTINGS}, {}
    if options == "old":
        settings["forced_decoder_ids"] = [[1, None], [2, 47]]
    elif options == "english":
        settings = {name: value for name, value in SETTINGS.items() if not name.endswith("_to_id")}
        settings["forced_decoder_ids"], settings["is_multilingual"] = [[1, 48]], False
    else:
        more = options
    features = extractor(waves, sampling_rate=RATE, return_tensors="pt").input_features
    model.generation_config = type(model.generation_config)(**settings)
    expected = model.generate(features, **more).tolist()
    loaded = zoo.load(str(directory), pretrained=True, scan=options == "old")
    hears = hearing(loaded.entry, resolve(str(directory)))
    found = transcribe_windows.token_ids(
        loaded, settings, waves, hears, language=more.get("language"), task=more.get("task"), batch_size=2
    )
    for (_, ids), row in zip(found, expected, strict=True):
        assert ids == row[: next((place for place, each in enumerate(row) if each in ENDS), None)]
    assert len({tuple(row) for row in expected}) > 1


def test_long_files_are_cut_into_windows_and_written_down_as_one_text(saved, tmp_path, capsys):
    directory, model, extractor, tokens = saved
    long, short = noise(2.4, 3), noise(0.5, 4)
    for name, samples in (("long", long), ("short", short)):
        write(tmp_path / f"{name}.wav", np.round(samples * 32767).astype("<i2"))
    heard = [np.round(each * 32767).astype(np.float32) / 32768 for each in (long, short)]
    parts = [heard[0][:RATE], heard[0][RATE : 2 * RATE], heard[0][2 * RATE :], heard[1]]
    model.generation_config = type(model.generation_config)(**SETTINGS)
    features = extractor(parts, sampling_rate=RATE, return_tensors="pt").input_features
    rows = model.generate(features[:1]).tolist() + model.generate(features[3:]).tolist()
    told = model.detect_language(features[:1]).item()
    forced = {"forced_decoder_ids": [[1, told], [2, SETTINGS["no_timestamps_token_id"]]]}
    model.generation_config = type(model.generation_config)(**SETTINGS, **forced)
    rows[1:1] = model.generate(features[1:3]).tolist()
    ids = [[each for each in row if each not in ENDS] for row in rows]
    expected = [[*ids[0], *ids[1], *ids[2]], ids[3]]
    texts = [tokens.decode(each, skip_special_tokens=True).strip() for each in expected]
    files = [str(tmp_path / f"{name}.wav") for name in ("long", "short")]
    assert zoo.transcribe(str(directory), files, max_new_tokens=17) == texts
    assert zoo.transcribe(str(directory), heard, sampling_rate=RATE, batch_size=4) == texts
    result = CliRunner().invoke(app, ["transcribe", str(directory), *files, "--json"])
    assert [each["text"] for each in json.loads(result.stdout)] == texts, result.stderr
    copied = tmp_path / "copied"
    zoo.save(zoo.load(str(directory), pretrained=True), copied)
    assert zoo.transcribe(str(copied), files) == texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "klingon"}, "no language 'klingon'; the model has de, en"),
        ({"task": "sing"}, "no task 'sing'; the model has transcribe, translate"),
        ({"batch_size": 0}, "batch_size=0; expected 1 or more"),
        ({"sampling_rate": None}, "sampling_rate=None of an array"),
    ],
    ids=str,
)
def test_what_the_model_cannot_do_is_refused(saved, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.transcribe(str(saved[0]), noise(0.1), **{"sampling_rate": RATE, **options})


def test_other_models_write_nothing_down():
    with pytest.raises(zoo.ZooError, match="'cnn_mnist' does not write down speech; it classifies pictures"):
        zoo.transcribe("cnn_mnist", noise(0.1), sampling_rate=RATE)


def test_spectrograms_and_states_are_those_of_transformers(saved, tmp_path):
    directory, model, extractor, _ = saved
    features = zoo.preprocess(str(directory))([noise(0.7)], sampling_rate=RATE)
    theirs = extractor([noise(0.7)], sampling_rate=RATE, return_tensors="pt").input_features
    assert np.abs(features.swapaxes(1, 2) - theirs.numpy()).max() <= 1e-5
    ids = np.array([[43, 7, 8, 9, 10]])
    model.model.save_pretrained(tmp_path)
    with torch.no_grad():
        states = model.model(theirs, decoder_input_ids=torch.from_numpy(ids))
    found = jax.jit(lambda model: model(features, ids))(zoo.load(str(tmp_path), pretrained=True))
    for name in ("last_hidden_state", "encoder_last_hidden_state"):
        wanted = states[name].numpy()
        assert np.abs(getattr(found, name) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    with pytest.raises(zoo.ZooError, match="frames, then mel bins; pass input_features"):
        zoo.load(str(directory))(features.swapaxes(1, 2), ids)
