"""Texts in, texts and vectors out: the tokenizer is a small one of words."""

import json
from shutil import copytree, ignore_patterns

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, GPT2, sentences, write
from zoo._preprocessing import text
from zoo.cli.app import app

WORDS = {"[UNK]": 0, "<|endoftext|>": 1, **{f"w{index}": index for index in range(2, 50)}}


def add_tokenizer(directory, **options):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_padding(length=30)
    tokenizer.enable_truncation(30)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    twin = randomise(text_models.gpt2()).float()
    directory = write(tmp_path_factory.mktemp("gpt2") / "gpt2", GPT2, state_dict(twin))
    return add_tokenizer(directory)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    directory = write(tmp_path_factory.mktemp("bert") / "bert", BERT, state_dict(twin))
    sentences(directory, ["Transformer", "Pooling", "Normalize"], pooling_mode_mean_tokens=True)
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    return add_tokenizer(directory)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    twin = randomise(text_models.bert("BertForSequenceClassification")).float()
    labels = {"id2label": {"0": "bad", "1": "good"}, "architectures": ["BertForSequenceClassification"]}
    return add_tokenizer(write(tmp_path_factory.mktemp("cls") / "cls", {**BERT, **labels}, state_dict(twin)))


def run(*arguments) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_texts_become_tokens_and_a_mask(gpt2):
    tokens = zoo.tokenizer(gpt2)
    ids, mask = text.batch(["w5 w6 w7", "w8"], tokens, limit=2)
    assert ids.tolist() == [[5, 6], [8, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]
    assert text.batch(["w5 w6", "w8"], tokens, limit=9, left=True)[0].tolist() == [[5, 6], [0, 8]]
    with pytest.raises(zoo.ZooError, match="without tokens"):
        text.batch(["w5", ""], tokens, limit=9)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("SiglipTokenizer", ["w5 w6 w7", "ws"]),
        ("Siglip2Tokenizer", [" w5,  w6\n_w7! ", "w's"]),
        ("GemmaTokenizer", [" W5,  w6\n_W7! ", "W's"]),
    ],
)
def test_texts_of_siglip_lose_their_case_and_those_of_the_first_their_punctuation(
    kind, expected, gpt2, tmp_path
):
    directory = copytree(gpt2, tmp_path / "it")
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    normalizer = zoo.tokenizer(directory).normalizer
    texts = [" W5,  w6\n_W7! ", "W's"]
    assert [normalizer.normalize_str(each) if normalizer else each for each in texts] == expected


def test_generate_writes_the_prompt_and_what_follows(gpt2):
    words = run("generate", gpt2, "w5 w6", "--tokens", 9, "--temperature", 0).split()
    assert words[:2] == ["w5", "w6"]
    model = zoo.load(gpt2, pretrained=True)
    ids = zoo.gpt2.generate(model, [[5, 6]], max_new_tokens=9, eos_token_id=1)[0]
    assert words == [f"w{index}" for index in ids]
    assert run("generate", gpt2, "w5", "--seed", 3) == run("generate", gpt2, "w5", "--seed", 3)


def test_embed_writes_json_or_an_array(bert, tmp_path):
    vectors = np.array(json.loads(run("embed", bert, "w5 w6 w7", "w5 w6 w7 w8 w9", "w30")))
    assert vectors.shape == (3, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    # Cut at three tokens, as the file of sentence-transformers says.
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert run("embed", bert, "w5 w6 w7", "-o", tmp_path / "out.npy") == ""
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), vectors[:1], atol=1e-6)


def test_predict_classifies_texts(classifier):
    rows = [line.split("\t") for line in run("predict", classifier, "w5 w6", "w9").splitlines()]
    assert [row[0] for row in rows] == ["w5 w6", "w5 w6", "w9", "w9"]
    assert {row[1] for row in rows} == {"good", "bad"}
    assert sum(float(row[2]) for row in rows) == pytest.approx(2, abs=1e-3)


def test_what_a_model_cannot_do_is_refused(gpt2, bert, tmp_path):
    with pytest.raises(zoo.ZooError, match=r"makes no vectors of texts; it continues texts: zoo\.generate"):
        zoo.embed(gpt2, ["w5"])
    with pytest.raises(zoo.ZooError, match=r"continues no texts; it makes vectors of texts: zoo\.embed"):
        zoo.generate(bert, "w5", max_new_tokens=3)
    with pytest.raises(zoo.ZooError, match=r"'mlp_mnist' takes pictures, not texts: zoo\.preprocess\('mlp_m"):
        zoo.tokenizer("mlp_mnist")
    with pytest.raises(
        zoo.ZooError, match=r"'gpt2' takes tokens of texts, not pictures: zoo\.tokenizer\('gp"
    ):
        zoo.preprocess("gpt2")
    with pytest.raises(zoo.ZooError, match=r"has no tokenizer\.json or vocab\.txt or vocab\.json and "):
        zoo.tokenizer(copytree(gpt2, tmp_path / "bare", ignore=ignore_patterns("tokenizer.json")))


def test_a_text_that_the_tokenizer_has_no_tokens_for_is_refused_in_one_line():
    done = CliRunner().invoke(app, ["generate", "gpt_shakespeare", "Café"])
    assert done.exit_code == 1
    assert done.stderr == (
        "zoo: the tokenizer has no token for 'é', at character 3 of 'Café'; leave it out.\n"
    )


def test_a_part_without_a_token_is_named_of_texts_and_pairs():
    tokens = Tokenizer(models.WordLevel({"w1": 0}))
    tokens.pre_tokenizer, tokens.normalizer = pre_tokenizers.WhitespaceSplit(), normalizers.Lowercase()
    for texts in (["w1", "W1 no w1"], [("w1", "w1 no")]):
        with pytest.raises(zoo.ZooError, match=r"no token for 'no', at character 3 of 'w1 no"):
            text.batch(texts, tokens, limit=9)


def test_a_saved_copy_embeds_as_the_directory_that_it_was_loaded_from(bert, tmp_path):
    """With the tokenizer, the longest text and the prompt."""
    (bert / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "w7 "}, "default_prompt_name": "query"}'
    )
    zoo.save(zoo.load(str(bert), pretrained=True), tmp_path / "saved")
    texts = ["w5 w6 w7 w8", "w9"]
    found = zoo.embed(str(tmp_path / "saved"), texts)
    np.testing.assert_array_equal(found, zoo.embed(str(bert), texts))
    np.testing.assert_array_equal(found, zoo.embed(str(bert), ["w7 w5 w6 w7 w8", "w7 w9"], prompt=""))
    (bert / "config_sentence_transformers.json").unlink()


def test_a_text_ends_and_begins_with_the_tokens_that_a_file_names(tmp_path):
    twin = randomise(text_models.gpt2()).float()
    directory = add_tokenizer(write(tmp_path / "gpt2", GPT2, state_dict(twin)))
    options = ("--tokens", 12, "--temperature", 0)
    whole = run("generate", directory, "w5 w6", *options).split()
    stop = next(word for word in whole[4:] if word not in whole[:4])
    for file in ("generation_config.json", "config.json"):
        config = json.loads((directory / "config.json").read_text()) if file == "config.json" else {}
        ids = {"eos_token_id": [WORDS[stop], 1], "bos_token_id": 7}
        (directory / file).write_text(json.dumps({**config, **ids}))
        assert run("generate", directory, "w5 w6", *options).split() == whole[: whole.index(stop) + 1]
        assert run("generate", directory, "", *options).startswith("w7 ")
        assert zoo.generate(directory, "", max_new_tokens=2)[0].startswith("w7 ")
        (directory / file).unlink()
    (directory / "config.json").write_text(json.dumps(GPT2))
    other = add_tokenizer(directory)
    (other / "tokenizer.json").write_text(
        (other / "tokenizer.json").read_text().replace("<|endoftext|>", "</s>")
    )
    done = CliRunner().invoke(app, ["generate", str(other), ""])
    assert "no token to begin a text with; give it a prompt" in done.stderr
