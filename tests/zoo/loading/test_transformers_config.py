"""Directories in the Hub's layout; repositories are in test_hub_layout.py."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from zoo._loading import transformers_config
from zoo._loading.located import Located
from zoo._loading.resolve import counted

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
# Parameters with the head that each config.json names; those of the base model are the published counts.
ACCEPTED = {
    "bert-base-cased": 108_340_804,
    "bert-base-uncased": 109_514_298,
    "bert-large-uncased": 335_174_458,
    "bge-base": 109_482_240,
    "bge-small": 33_360_000,
    "dinov2-base": 86_580_480,
    "dinov2-small": 22_056_576,
    "distilbert": 66_985_530,
    "distilgpt2": 81_912_576,
    "e5-small-v2": 33_360_000,
    "gpt2": 124_439_808,
    "gpt2-large": 774_030_080,
    "gpt2-medium": 354_823_168,
    "minilm-l12": 33_360_000,
    "minilm-l6": 22_713_216,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
    "sst2": 66_955_010,
    "vit-base-in21k": 86_389_248,
}
FOREIGN = {
    "mpnet": "mpnet",
    "opt-125m": "opt",
    "pythia-70m": "gpt_neox",
    "pythia-160m": "gpt_neox",
    "qwen2.5-0.5b": "qwen2",
    "smollm2-135m": "llama",
    "t5-small": "t5",
    "tinyllama-chat": "llama",
}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **text_models.GPT2}
BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"], **text_models.BERT}


def entry_of(config: dict) -> zoo.Entry:
    return counted_entry("it", json.dumps(config).encode())


def counted_entry(name: str, content: bytes) -> zoo.Entry:
    made = transformers_config.entry(name, content, lambda file: None)
    return counted(Located(entry=made, counted=False)).entry


def write(directory: Path, config: dict, tensors: dict, shards: int = 1) -> Path:
    """A model as transformers saves it."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    if shards == 1:
        converters.write_checkpoint(tensors, directory / "model.safetensors")
        return directory
    names = [f"model-{index:05}-of-{shards:05}.safetensors" for index in range(1, shards + 1)]
    index = {tensor: names[number % shards] for number, tensor in enumerate(tensors)}
    for name in names:
        part = {tensor: tensors[tensor] for tensor in tensors if index[tensor] == name}
        converters.write_checkpoint(part, directory / name)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (directory / "model.safetensors.index.json").write_text(text)
    return directory


def logits(model: zoo.Model, ids: np.ndarray) -> np.ndarray:
    return np.asarray(model(ids).logits)


@pytest.fixture(scope="module")
def gpt2() -> torch.nn.Module:
    return randomise(text_models.gpt2()).float().eval()


@pytest.fixture(scope="module")
def bert() -> torch.nn.Module:
    return randomise(text_models.bert("BertForMaskedLM")).float().eval()


IDS = np.arange(2, 32).reshape(2, 15)


def agrees(model: zoo.Model, twin: torch.nn.Module) -> bool:
    with torch.no_grad():
        theirs = twin(torch.from_numpy(IDS))[0].numpy()
    return bool(np.abs(logits(model, IDS) - theirs).max() <= 1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_published_config_makes_a_model_of_the_published_size(name):
    content = (CONFIGS / f"{name}.config.json").read_bytes()
    assert counted_entry(name, content).num_params == ACCEPTED[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_model_type_is_refused_with_those_that_the_zoo_has(name):
    content = (CONFIGS / f"{name}.config.json").read_bytes()
    with pytest.raises(zoo.ManifestError, match=f"model_type {FOREIGN[name]!r}; the zoo has bert, .*gpt2"):
        transformers_config.entry(name, content, lambda file: None)


def test_every_config_is_accepted_or_refused():
    names = {path.name.removesuffix(".config.json") for path in CONFIGS.iterdir()}
    assert names == {*ACCEPTED, *FOREIGN, "sd-vae"}
    assert not transformers_config.is_hub_config((CONFIGS / "sd-vae.config.json").read_bytes())


def test_all_that_the_zoo_does_not_have_is_listed_by_name():
    config = {**GPT2, "scale_attn_weights": False, "rope_theta": 10000, "activation_function": "mish"}
    with pytest.raises(zoo.ManifestError) as caught:
        entry_of({**config, "architectures": ["GPT2ForTokenClassification"]})
    for text in (
        "scale_attn_weights: False; the zoo has True only",
        "rope_theta: 10000; nobody has said what it means",
        "activation 'mish'; the zoo has gelu, ",
        "architectures: ['GPT2ForTokenClassification']; the zoo has GPT2LMHeadModel, GPT2Model, or",
    ):
        assert text in str(caught.value)


def test_classes_have_the_names_that_the_config_gives():
    content = (CONFIGS / "sst2.config.json").read_bytes()
    assert transformers_config.entry("sst2", content, lambda file: None).class_names == (
        "NEGATIVE",
        "POSITIVE",
    )


@pytest.mark.parametrize("shards", [1, 3])
def test_a_directory_loads(tmp_path, gpt2, shards):
    directory = write(tmp_path / "gpt2", GPT2, state_dict(gpt2), shards)
    model = zoo.load(directory, pretrained=True)
    assert agrees(model, gpt2)
    assert model.entry == zoo.info(directory)
    assert model.notes[0] == "its names are of the layout 'transformers'"


def test_masks_and_tied_heads_are_left_out_and_noted(tmp_path, gpt2):
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in state_dict(gpt2).items()}
    tensors |= {"lm_head.weight": tensors["wte.weight"], "h.0.attn.bias": np.ones((1, 1, 40, 40), np.float32)}
    model = zoo.load(write(tmp_path / "gpt2", GPT2, tensors), pretrained=True)
    assert agrees(model, gpt2)
    assert model.notes == (
        "its names are of the layout 'transformers_model'",
        "left out 1 tensor, wte.weight once more: lm_head.weight",
        "left out 1 tensor, causal masks, which are computed: h.0.attn.bias",
    )


def test_a_head_that_is_not_tied_is_refused(tmp_path, gpt2):
    tensors = state_dict(gpt2)
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"] + 1
    with pytest.raises(zoo.WeightsError, match=r"lm_head\.weight differs from transformer\.wte\.weight"):
        zoo.load(write(tmp_path / "gpt2", GPT2, tensors), pretrained=True)


def test_norms_named_as_in_tensorflow_load(tmp_path, bert):
    tensors = {}
    for name, tensor in state_dict(bert).items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        tensors[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    model = zoo.load(write(tmp_path / "bert", BERT, tensors), pretrained=True)
    assert agrees(model, bert)
    assert model.notes[0] == "its names are of the layout 'google'"


def test_another_head_leaves_out_the_one_of_the_file(tmp_path, bert):
    directory = write(tmp_path / "bert", BERT, state_dict(bert))
    model = zoo.load(directory, pretrained=True, head="none")
    assert model(IDS).last_hidden_state.shape == (2, 15, 24)
    assert "left out 5 tensors, the language model's head: cls.predictions." in model.notes[1]
    with pytest.raises(converters.ConversionError, match=r"missing .*pooler\.dense\.weight"):
        zoo.load(directory, pretrained=True, head="pooler")


def sentences(directory: Path, modules: list[str], **modes: bool) -> None:
    """The files of sentence-transformers."""
    chain = [
        {"path": f"{index}_{kind}" if index else "", "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(modules)
    ]
    (directory / "modules.json").write_text(json.dumps(chain))
    (directory / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 24, "pooling_mode_cls_token": False, **modes}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def test_files_of_sentence_transformers_make_embeddings(tmp_path, bert):
    directory = write(tmp_path / "bert", BERT, state_dict(bert))
    sentences(directory, ["Transformer", "Pooling", "Normalize"], pooling_mode_mean_tokens=True)
    model = zoo.load(directory, pretrained=True)
    mask = np.array([[1] * 15, [1] * 9 + [0] * 6])
    states = zoo.load(directory, pretrained=True, head="none")(IDS, mask).last_hidden_state
    means = np.stack([states[0].mean(0), states[1, :9].mean(0)])
    wanted = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(model(IDS, mask).embeddings, wanted, rtol=1e-5, atol=1e-6)


def test_loaded_models_save_and_come_back(tmp_path, gpt2):
    model = zoo.load(write(tmp_path / "gpt2", GPT2, state_dict(gpt2)), pretrained=True)
    zoo.save(model, tmp_path / "saved")
    again = zoo.load(tmp_path / "saved", pretrained=True)
    assert jax.tree.all(jax.tree.map(np.array_equal, model.variables, again.variables))
    assert agrees(again, gpt2)
