"""Speech to characters, as transformers writes them down with the same files."""

import json

import jax
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference.speech_models import LARGE, wav2vec2
from tests.zoo.inference.test_transcribe import RATE, noise
from zoo._preprocessing.characters import characters

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "D", "'", ".", "N")
VOCABULARY = {token: index for index, token in enumerate(TOKENS)}


@pytest.fixture(scope="module", params=["base", "large", "hubert"])
def saved(request, tmp_path_factory):
    """A directory in the Hub's layout: base with the tensors of norm and direction of old files."""
    directory = tmp_path_factory.mktemp(request.param)
    name = "HubertForCTC" if request.param == "hubert" else "Wav2Vec2ForCTC"
    options = LARGE if request.param == "large" else {"old": request.param == "base"}
    model = randomise(wav2vec2(name, **options), norms=1.0).float().eval()
    converters.write_checkpoint(state_dict(model), directory / "model.safetensors")
    model.config.architectures = [name]
    model.config.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps(VOCABULARY))
    (directory / "tokenizer_config.json").write_text('{"do_lower_case": true, "pad_token": "<pad>"}')
    normal = {"do_normalize": True, "return_attention_mask": request.param == "large"}
    (directory / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": RATE, **normal}))
    return directory, model


def test_texts_and_logits_are_those_of_transformers(saved):
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

    directory, model = saved
    wave = noise(0.5)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(directory)
    values = extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values
    found = zoo.preprocess(str(directory))(wave, sampling_rate=RATE)
    assert np.abs(found - values.numpy()).max() <= 1e-5
    with torch.no_grad():
        logits = model(values).numpy()
    loaded = zoo.load(str(directory), pretrained=True)
    ours = jax.jit(lambda model: model(found).logits)(loaded)
    assert np.abs(ours - logits).max() <= 1e-5 * np.abs(logits).max()
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(directory)
    text = tokenizer.decode(logits[0].argmax(-1))
    assert len({*text}) > 1
    assert zoo.transcribe(loaded, wave, sampling_rate=RATE) == [text]


def test_any_ids_become_the_text_of_transformers(tmp_path):
    from transformers import Wav2Vec2CTCTokenizer

    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    rng = np.random.default_rng(0)
    for options in ({}, {"do_lower_case": True}, {"clean_up_tokenization_spaces": True}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
        theirs = Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
        ours = characters("it", lambda file: p.read_bytes() if (p := tmp_path / file).is_file() else None)
        for _ in range(20):
            ids = rng.integers(0, 13, size=30).tolist()
            assert ours.text(ids) == theirs.decode(ids)


def test_both_names_of_normed_weights_are_read_and_written():
    module = zoo.wav2vec2.create(
        vocab_size=12,
        width=24,
        depth=2,
        heads=3,
        feed_forward=40,
        conv_channels=(10, 12, 14),
        conv_kernels=(7, 3, 2),
        conv_strides=(4, 2, 2),
        position_kernel=6,
        position_groups=4,
    )
    names = {"names": zoo.wav2vec2.TORCH_NAMES["transformers"]}
    sound = jax.ShapeDtypeStruct((1, 151), "float32")
    for old in (True, False):
        tensors = state_dict(randomise(wav2vec2(old=old)).float())
        variables = converters.convert(tensors, module, sound, **names)
        written = converters.to_torch(variables, module, sound, like=tensors, **names)
        assert {*written} == {*tensors}
        assert all(np.array_equal(written[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    "option", [{"language": "en"}, {"task": "translate"}, {"max_new_tokens": 2}], ids=str
)
def test_options_of_whisper_are_refused(saved, option):
    with pytest.raises(zoo.ZooError, match="= is for Whisper; "):
        zoo.transcribe(str(saved[0]), noise(0.1), sampling_rate=RATE, **option)


def test_too_short_a_sound_is_refused(saved):
    with pytest.raises(zoo.ZooError, match=r"input_values of shape \(1, 5\)"):
        zoo.transcribe(str(saved[0]), noise(0.1)[:5], sampling_rate=RATE)
