"""Every layout that sentence-transformers has written, with what its steps make of the states."""

import json
from pathlib import Path

import numpy as np
import pytest

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, CLIP, GPT2, sentences, write
from zoo._loading.resolve import resolve
from zoo._loading.text_settings import text_settings

IDS = np.arange(2, 32).reshape(2, 15)
MASK = np.array([[1] * 15, [1] * 9 + [0] * 6])
LENGTHS = MASK.sum(1)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tensors():
    return state_dict(randomise(text_models.bert("BertForMaskedLM")).float())


@pytest.fixture(scope="module")
def states(tensors, tmp_path_factory):
    """The states of the tokens of each text, without its padding."""
    directory = write(tmp_path_factory.mktemp("states") / "bert", BERT, tensors)
    made = np.asarray(zoo.load(directory, pretrained=True, head="none")(IDS, MASK).last_hidden_state)
    return [each[:length] for each, length in zip(made, LENGTHS, strict=True)]


@pytest.fixture
def directory(tensors, tmp_path):
    return write(tmp_path / "bert", BERT, tensors)


def embeddings(directory: Path) -> np.ndarray:
    return np.asarray(zoo.load(directory, pretrained=True)(IDS, MASK).embeddings)


def close(found: np.ndarray, wanted) -> bool:
    return bool(np.abs(found - np.stack(wanted)).max() <= 1e-5 * np.abs(found).max())


def weighted(states: np.ndarray) -> np.ndarray:
    return np.average(states, axis=0, weights=np.arange(1, len(states) + 1))


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ({"pooling_mode_max_tokens": True}, [lambda x: x.max(0)]),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, [lambda x: x.sum(0) / np.sqrt(len(x))]),
        ({"pooling_mode_weightedmean_tokens": True}, [weighted]),
        ({"pooling_mode_lasttoken": True}, [lambda x: x[-1]]),
        ({"pooling_mode": "mean", "embedding_dimension": 24}, [lambda x: x.mean(0)]),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, [lambda x: x.sum(0) / np.sqrt(len(x))]),
        ({"pooling_mode": ["lasttoken", "cls"]}, [lambda x: x[-1], lambda x: x[0]]),
        # In the order of the library, whatever the file's is.
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            [lambda x: x[0], lambda x: x.mean(0)],
        ),
        ({"pooling_mode_mean_tokens": False}, [lambda x: x.mean(0)]),  # the library's default
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_states_are_pooled_as_the_file_says(directory, states, pooling, wanted):
    sentences(directory, ["Transformer", "Pooling"])
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert close(embeddings(directory), [np.concatenate([each(x) for each in wanted]) for x in states])


def dense(directory: Path, path: str, file: str, **options) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = RNG.normal(size=(8, 24)).astype("f4"), RNG.normal(size=8).astype("f4")
    (directory / path).mkdir()
    (directory / path / "config.json").write_text(
        json.dumps({"in_features": 24, "out_features": 8, **options})
    )
    weights = {"linear.weight": kernel} | ({"linear.bias": bias} if options.get("bias", True) else {})
    converters.write_checkpoint(weights, directory / path / file)
    return kernel, bias * options.get("bias", True)


@pytest.mark.parametrize(
    ("file", "options", "function"),
    [
        ("model.safetensors", {"activation_function": "torch.nn.modules.activation.Tanh"}, np.tanh),
        (
            "pytorch_model.bin",
            {"activation_function": "torch.nn.modules.linear.Identity", "bias": False},
            lambda x: x,
        ),
    ],
)
def test_dense_layers_follow_the_pooling(directory, states, tmp_path, file, options, function):
    sentences(directory, ["Transformer", "Pooling", "Dense", "Normalize"], pooling_mode_mean_tokens=True)
    kernel, bias = dense(directory, "2_Dense", file, **options)
    vectors = [function(x.mean(0) @ kernel.T + bias) for x in states]
    found = embeddings(directory)
    assert close(found, [each / np.linalg.norm(each) for each in vectors])
    zoo.save(zoo.load(directory, pretrained=True), tmp_path / "saved")
    np.testing.assert_array_equal(embeddings(tmp_path / "saved"), found)


@pytest.mark.parametrize("kind", ["Transformer", "BERT"])
def test_the_transformer_may_have_a_folder_of_its_own(tmp_path, tensors, states, kind):
    (tmp_path / "top").mkdir()
    directory = write(tmp_path / "top" / f"0_{kind}", BERT, tensors).parent
    # All that early versions kept at the top.
    (directory / "config.json").write_text('{"__version__": "0.2.6"}')
    sentences(directory, [kind, "Pooling"], pooling_mode_mean_tokens=True)
    modules = json.loads((directory / "modules.json").read_text())
    modules[0]["path"] = f"0_{kind}"
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / f"0_{kind}" / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    (directory / "config_sentence_transformers.json").write_text('{"prompts": {"query": "q: "}}')
    assert close(embeddings(directory), [x.mean(0) for x in states])
    settings = text_settings(resolve(str(directory)))
    assert (settings.max_length, settings.prompts) == (7, {"query": "q: "})


def test_a_transformer_alone_is_what_its_config_says(directory):
    sentences(directory, ["Transformer"])
    assert zoo.info(str(directory)).config["head"] == "masked_lm"


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (
            ["Transformer", "Pooling", "LSTM"],
            {},
            "makes vectors by Transformer > Pooling > LSTM; the zoo has",
        ),
        (["Transformer", "Pooling", "Normalize", "Dense"], {}, "Normalize > Dense; the zoo has"),
        (
            ["Transformer", "Pooling"],
            {"pooling_mode": "attention"},
            "'attention'; the zoo has cls, max, mean",
        ),
        (["Transformer", "Pooling", "Dense"], {}, "has no 2_Dense/config.json, which modules.json says"),
    ],
)
def test_other_ways_to_make_vectors_are_refused(directory, modules, pooling, message):
    sentences(directory, modules, **pooling)
    with pytest.raises(zoo.ManifestError, match=message):
        zoo.load(directory)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transformer_task": "fill-mask"}, "asks for {'transformer_task': 'fill-mask'}"),
        ({"modality_config": {"text": {"method_output_name": "pooler_output"}}}, "pooler_output"),
        ({"query_length": 32}, "asks for {'query_length': 32}"),
        ({"processing_kwargs": {"text": {"max_length": 5}}}, "processing_kwargs"),
    ],
)
def test_a_transformer_that_gives_or_takes_something_else_is_refused(directory, options, message):
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    (directory / "sentence_bert_config.json").write_text(json.dumps(options))
    with pytest.raises(zoo.ManifestError, match=message):
        zoo.load(directory)


def test_prompts_that_are_not_pooled_are_refused(directory):
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True, include_prompt=False)
    assert zoo.info(str(directory)).config["pooling"] == "mean"  # it has no prompts
    (directory / "config_sentence_transformers.json").write_text('{"prompts": {"query": "q: "}}')
    with pytest.raises(zoo.ManifestError, match="pools without its prompts"):
        zoo.load(directory)


def test_a_dense_layer_of_another_kind_or_without_weights_is_refused(directory):
    sentences(directory, ["Transformer", "Pooling", "Dense"], pooling_mode_mean_tokens=True)
    dense(directory, "2_Dense", "model.safetensors", activation_function="mine.Swish")
    with pytest.raises(zoo.ManifestError, match=r"2_Dense/config\.json asks for .*mine\.Swish"):
        zoo.load(directory)
    (directory / "2_Dense" / "config.json").write_text('{"out_features": 8}')
    (directory / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(zoo.ManifestError, match=r"has none of 2_Dense/model\.safetensors, 2_Dense/pytorch"):
        zoo.load(directory, pretrained=True)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"model_max_length": 16}}, 16),
        ({"tokenizer_config.json": {"model_max_length": 1e30}}, None),
        ({"tokenizer_config.json": {"model_max_length": 16}, "sentence_bert_config.json": {}}, 16),
        (
            {
                "tokenizer_config.json": {"model_max_length": 16},
                "sentence_bert_config.json": {"max_seq_length": 9},
            },
            9,
        ),
    ],
)
def test_the_longest_text_is_read_from_where_it_is_kept(directory, files, expected):
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    for file, content in files.items():
        (directory / file).write_text(json.dumps(content))
    assert text_settings(resolve(str(directory))).max_length == expected


def test_an_unknown_prompt_is_refused_with_those_that_there_are(directory):
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    content = {"prompts": {"query": "q: ", "passage": "p: "}, "default_prompt_name": "passage"}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(content))
    settings = text_settings(resolve(str(directory)))
    assert [settings.prompt(name) for name in (None, "query", "")] == ["p: ", "q: ", ""]
    with pytest.raises(zoo.ZooError, match="no prompt 'title'; the model has 'query', 'passage'"):
        settings.prompt("title")


def test_early_versions_named_a_file_after_the_architecture(tmp_path):
    config = {"model_type": "distilbert", "architectures": ["DistilBertModel"], **text_models.DISTILBERT}
    twin = randomise(text_models.distilbert()).float()
    directory = write(tmp_path / "bert", config, state_dict(twin))
    sentences(directory, ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    (directory / "sentence_distilbert_config.json").write_text('{"max_seq_length": 9}')
    assert text_settings(resolve(str(directory))).max_length == 9


def test_a_decoder_gives_the_state_of_its_last_token(tmp_path):
    twin = randomise(text_models.gpt2("GPT2Model")).float()
    config = {**GPT2, "architectures": ["GPT2Model"]}
    directory = write(tmp_path / "gpt2", config, state_dict(twin))
    plain = zoo.load(directory, pretrained=True, head="none")
    assert zoo.info(directory).config["head"] == "none"
    sentences(directory, ["Transformer", "Pooling", "Dense", "Normalize"], pooling_mode_lasttoken=True)
    kernel, bias = dense(directory, "2_Dense", "model.safetensors", activation_function="torch.nn.Tanh")
    states = np.asarray(plain(IDS, MASK).last_hidden_state)
    last = np.stack([each[length - 1] for each, length in zip(states, LENGTHS, strict=True)])
    wanted = np.tanh(last @ kernel.T + bias)
    assert close(embeddings(directory), wanted / np.linalg.norm(wanted, axis=1, keepdims=True))


def test_a_clip_model_is_read_in_its_folder_with_its_pictures(tmp_path):
    inside = write(tmp_path / "0_CLIPModel", CLIP, {})
    pictures = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32}
    (inside / "preprocessor_config.json").write_text(json.dumps(pictures))
    chain = [{"path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (tmp_path / "modules.json").write_text(json.dumps(chain))
    found, wanted = zoo.info(tmp_path), zoo.info(inside)
    assert found.weights.file == "0_CLIPModel/model.safetensors"
    assert (found.config, found.preprocess) == (wanted.config, wanted.preprocess)
    assert found.preprocess.crop == (32, 32)
