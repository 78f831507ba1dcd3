"""How the verbs take texts: arguments, lines of standard input, pairs; and what they write."""

import csv
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, sentences, write
from tests.zoo.preprocessing.test_text import add_tokenizer
from zoo.cli.app import app


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    directory = write(tmp_path_factory.mktemp("encoder") / "bert", BERT, state_dict(twin))
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    return add_tokenizer(directory)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """Classifiers of three classes, which exclude each other or do not, and of one."""

    def made(name, classes, **config):
        twin = randomise(text_models.bert("BertForSequenceClassification", num_labels=classes)).float()
        config |= {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {str(index): f"c{index}" for index in range(classes)},
        }
        return add_tokenizer(write(root / name, {**BERT, **config}, state_dict(twin)))

    root = tmp_path_factory.mktemp("classifiers")
    return {
        "one of three": made("single", 3),
        "each of three": made("multi", 3, problem_type="multi_label_classification"),
        "a value": made("value", 1),
    }


def run(*arguments, stdin=None, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout


def logits(directory, given) -> np.ndarray:
    ids = np.array([[int(word[1:]) for word in each.split()] for each in given])
    return np.asarray(zoo.load(directory, pretrained=True)(ids).logits, np.float64)


@pytest.mark.parametrize(
    ("which", "function"),
    [
        ("one of three", lambda x: np.exp(x) / np.exp(x).sum()),
        ("each of three", lambda x: 1 / (1 + np.exp(-x))),
        ("a value", lambda x: x),
    ],
)
def test_predict_prints_what_the_classifier_means(classifiers, which, function):
    rows = [row.split("\t") for row in run("predict", classifiers[which], "w5 w6 w7").splitlines()]
    wanted = function(logits(classifiers[which], ["w5 w6 w7"])[0])
    found = {name: float(number) for _, name, number in rows}
    assert found == pytest.approx({f"c{index}": number for index, number in enumerate(wanted)}, rel=1e-5)
    assert [*found.values()] == sorted(found.values(), reverse=True)


def test_lines_of_standard_input_are_texts(encoder, classifiers):
    together = json.loads(run("embed", encoder, "-", "w9", stdin="w5 w6\n\nw7\n"))
    assert together == [json.loads(run("embed", encoder, each))[0] for each in ("w5 w6", "w7", "w9")]
    rows = run("predict", classifiers["a value"], "-", stdin="w5 w6\nw7\n").splitlines()
    assert [row.split("\t")[0] for row in rows] == ["w5 w6", "w7"]
    assert "there are no texts on standard input" in run("embed", encoder, "-", stdin="\n", code=1)
    assert run("generate", "gpt_shakespeare", "-", "--tokens", 3, stdin="ROMEO:\n").startswith("ROMEO:")


def test_lines_of_a_file_are_texts_and_json_has_whole_numbers(classifiers, tmp_path):
    directory, file = classifiers["a value"], tmp_path / "lines.txt"
    file.write_text("w5 w6\r\nw7\n")
    rows = json.loads(run("predict", directory, "w9", "--file", file, "--json"))
    assert [row["input"] for row in rows] == ["w9", "w5 w6", "w7"]
    assert rows[1]["value"] == pytest.approx(float(logits(directory, ["w5 w6"])[0, 0]), rel=1e-4)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ROMEO:\nI\n")
    options = ("--tokens", 3, "--temperature", 0)
    found = json.loads(run("generate", "gpt_shakespeare", "--file", prompts, *options, "--json"))
    assert [each["prompt"] for each in found] == ["ROMEO:", "I"]
    alone = run("generate", "gpt_shakespeare", "ROMEO:", *options)
    assert alone == found[0]["text"] + "\n"
    assert run("generate", "gpt_shakespeare", "-", *options, stdin="ROMEO:\nI\n").startswith(f"{alone}---\nI")


def test_texts_that_are_none_are_refused(encoder, tmp_path):
    file = tmp_path / "latin.txt"
    file.write_bytes(b"w5\ncaf\xe9\n")
    assert f"line 2 of {file} is no text in UTF-8" in run("embed", encoder, "--file", file, code=1)
    assert "give texts, '-' for the lines of standard input, or --file" in run("embed", encoder, code=2)
    assert "give a prompt, '-'" in run("generate", "gpt_shakespeare", code=2)
    said = run("generate", "gpt_shakespeare", "a", "--tokens", 1_000_000, code=1)
    assert "--tokens" in said or "--max-new-tokens" in said
    assert "expected 1 to 128, the model's longest text" in said


def test_pairs_are_two_texts_with_the_types_of_their_tokens(classifiers):
    directory = classifiers["a value"]
    printed = float(run("predict", directory, "--pairs", "w5 w6\tw7").split("\t")[-1])
    ids, types = np.array([[5, 6, 7]]), np.array([[0, 0, 1]])
    model = zoo.load(directory, pretrained=True)
    assert printed == pytest.approx(float(model(ids, token_type_ids=types).logits[0, 0]), rel=1e-5)
    assert printed != pytest.approx(float(model(ids).logits[0, 0]), rel=1e-3)
    assert "'w5' is no pair; expected two texts" in run("predict", directory, "--pairs", "w5", code=1)
    assert "--pairs is for texts" in run("predict", "cnn_mnist", "--pairs", "a.png", code=1)


def test_a_file_is_not_taken_for_a_text(encoder, classifiers, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("w5\n")
    for verb, name in (("predict", classifiers["a value"]), ("embed", encoder)):
        said = run(verb, name, file, code=1)
        assert f"is a file, not a text; for its lines, `zoo {verb} {name} --file {file}`" in said
    said = run("embed", "cnn_mnist", file, code=1)
    assert "'cnn_mnist' makes no vectors of texts; it classifies pictures: `zoo predict`" in said


def test_models_for_other_things_say_for_which(encoder, tmp_path):
    config = {**BERT, "architectures": ["BertModel"]}
    base = add_tokenizer(write(tmp_path / "base", config, state_dict(randomise(text_models.bert()).float())))
    said = run("predict", base, "w5", code=1)
    assert "does not classify texts; it gives states of tokens; `zoo embed --pooling mean" in said
    assert "does not classify texts; it makes vectors of texts: `zoo embed`" in run(
        "predict", encoder, "w5", code=1
    )
    found = json.loads(run("embed", base, "w5 w6", "--pooling", "cls"))
    states = zoo.load(base, pretrained=True)(np.array([[5, 6]])).last_hidden_state
    np.testing.assert_allclose(found, states[:, 0], rtol=1e-4, atol=1e-5)


def test_a_head_that_the_files_do_not_name_is_asked_for(classifiers, tmp_path):
    expected = run("predict", classifiers["one of three"], "w5 w6")
    directory = tmp_path / "unnamed"
    shutil.copytree(classifiers["one of three"], directory)
    config = json.loads((directory / "config.json").read_text())
    del config["architectures"]
    (directory / "config.json").write_text(json.dumps(config))
    assert "does not classify texts" in run("predict", directory, "w5 w6", code=1)
    assert run("predict", directory, "--head", "classification", "w5 w6") == expected
    assert "leave the other one out" in run("predict", "cnn_mnist", "--head", "none", "a.png", code=1)


def test_vectors_go_into_files_that_their_suffix_names(encoder, tmp_path):
    printed = np.array(json.loads(run("embed", encoder, "w5 w6", "w7")))
    for dtype, kept in (("float32", np.float32), ("float16", np.float32), ("bfloat16", np.float32)):
        run("embed", encoder, "w5 w6", "w7", "--dtype", dtype, "-o", tmp_path / "out.npy")
        written = np.load(tmp_path / "out.npy")
        assert written.dtype == kept
        np.testing.assert_allclose(written, printed, atol=float(jnp.finfo(dtype).eps) * 30)
    run("embed", encoder, "w5 w6", "w7", "-o", tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="") as file:
        np.testing.assert_array_equal(np.array([*csv.reader(file)], float), printed)
    assert "ends in none of .npy, .csv, .json" in run("embed", encoder, "w5", "-o", "out.txt", code=1)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    config = {**BERT, "vocab_size": 30}
    twin = randomise(text_models.bert("BertForMaskedLM", vocab_size=30)).float()
    directory = add_tokenizer(write(tmp_path / "bert", config, state_dict(twin)))
    said = run("embed", directory, "w5", "--pooling", "mean", code=1)
    assert f"the tokenizer of {str(directory)!r} has 50 tokens, the model 30: they do not belong" in said


def test_a_prompt_that_leaves_no_room_is_refused():
    most = zoo.load("gpt_shakespeare").module.max_length
    prompt = "a" * most
    said = run("generate", "gpt_shakespeare", prompt, code=1)
    assert f"the prompt has {len(prompt):,} tokens; the model takes texts of {most:,}" in said
