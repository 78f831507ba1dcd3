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
    "mpnet": 109_518_527,
    "opt-125m": 125_239_296,
    "pythia-160m": 162_322_944,
    "pythia-70m": 70_426_624,
    "qwen2.5-0.5b": 494_032_768,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
    "sd-vae": 83_653_863,
    "smollm2-135m": 134_515_008,
    "sst2": 66_955_010,
    "t5-small": 60_506_624,
    "tinyllama-chat": 1_100_048_384,
    "vit-base-in21k": 86_389_248,
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


def test_a_foreign_model_type_is_refused_with_those_that_the_zoo_has():
    with pytest.raises(zoo.ManifestError, match=r"model_type 'rwkv'; the zoo has .*bert, .*gpt2"):
        entry_of({"model_type": "rwkv"})


def test_every_config_is_accepted():
    assert {path.name.removesuffix(".config.json") for path in CONFIGS.iterdir()} == {*ACCEPTED}


def test_all_that_the_zoo_does_not_have_is_listed_by_name():
    config = {**GPT2, "add_cross_attention": True, "rope_theta": 10000, "activation_function": "prelu"}
    with pytest.raises(zoo.ManifestError) as caught:
        entry_of({**config, "architectures": ["GPT2ForRanking"], "n_positions": "40", "n_ctx": 40})
    for text in (
        "add_cross_attention: True; the zoo has False only",
        "rope_theta: 10000; nobody has said what it means",
        "activation 'prelu'; the zoo has gelu, ",
        "n_positions: '40'; expected a whole number",
        "architectures: ['GPT2ForRanking']; the zoo has GPT2Model, GPT2LMHeadModel, ",
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


def refused(config: dict) -> str:
    with pytest.raises(zoo.ManifestError) as caught:
        transformers_config.entry("it", json.dumps(config).encode(), lambda file: None)
    return str(caught.value)


HARMLESS = {
    # what people write about a model
    "language": "english",
    "author": "A. Person",
    "license": "mit",
    "kobert_version": 1.0,
    "tags": ["a", "b"],
    "finetuning_steps": 3,
    "train_batch_size": 32,
    "line_by_line": True,
    "label_smoothing": 0.1,
    "max_seq_length": 128,
    "do_lower_case": True,
    "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
    "my_task_params": {"summarization": {"prefix": "x", "max_length": 3}},
    "adapters": {"adapters": {}, "config_map": {}},
    # what transformers wrote
    "repetition_penalty": 1.2,
    "bad_words_ids": [[1]],
    "eos_token_ids": [1, 2],
    "mask_token_id": 103,
    "_anything": 1,
    "pruned_heads": {},
    "use_bfloat16": True,
    "tie_encoder_decoder": False,
    "position_embedding_type": None,
    "is_encoder_decoder": None,
    "cross_attention_hidden_size": None,
    "rope_theta": None,
    "auto_map": {"AutoTokenizer": "tokenization.Mine"},
}
CHANGING = {
    "rope_theta": 10000,
    "use_swiglu_ffn": True,
    "emb_size": 128,
    "parallel_residual": False,
    "pruned_heads": {"0": [1]},
    "position_embedding_type": "relative_key",
    "add_cross_attention": True,
    "is_encoder_decoder": True,
    "norm_type": "rms",
    "feed_forward_type": "geglu",
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "layers_kept": [0, 1],
    "quantization_config": {"quant_method": "gptq"},
    "auto_map": {"AutoModel": "modeling.Mine"},
}


@pytest.mark.parametrize("base", [BERT, GPT2], ids=["bert", "gpt2"])
def test_what_changes_nothing_is_taken_by_rules(base):
    assert entry_of({**base, **HARMLESS}).config == entry_of(base).config


@pytest.mark.parametrize("name", CHANGING)
def test_what_may_change_the_model_is_refused_by_name(name):
    assert f"{name}: {CHANGING[name]!r}; " in refused({**BERT, name: CHANGING[name]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": "300"}, "vocab_size: '300'; expected a whole number"),
        ({"hidden_size": 24.0}, "hidden_size: 24.0; expected a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers: True; expected a whole number"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: -1; expected 0 or more"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps: 'tiny'; expected a number"),
        ({"hidden_act": ["gelu"]}, "hidden_act: ['gelu']; expected text"),
        ({"is_decoder": 1}, "is_decoder: 1; expected true or false"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: False; the zoo has True only"),
        (
            {"id2label": ["a"], "architectures": ["BertForSequenceClassification"]},
            "id2label: ['a']; expected",
        ),
        ({"id2label": {"neg": "0"}, "architectures": ["BertForTokenClassification"]}, "id2label: {'neg': "),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(options, message):
    assert message in refused({**BERT, **options})


def test_embeddings_need_no_tied_head_and_no_names_of_classes():
    config = {**BERT, "architectures": ["BertModel"], "tie_word_embeddings": False, "id2label": ["a"]}
    assert entry_of(config).config["head"] == "pooler"


def test_sizes_by_their_general_names_are_the_same_and_may_not_differ():
    config = {
        "model_type": "gpt2",
        "vocab_size": 50,
        "hidden_size": 24,
        "num_attention_heads": 3,
        "n_layer": 2,
    }
    assert entry_of({**config, "n_embd": 24}) == entry_of(config)
    assert "hidden_size: 24; another attribute says 48" in refused({**config, "n_embd": 48})


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert", "data2vec-text"])
def test_relatives_of_roberta_are_roberta(kind):
    config = {**BERT, "model_type": kind, "architectures": None}
    assert entry_of(config).config == {**entry_of({**config, "model_type": "roberta"}).config}


@pytest.mark.parametrize(("config", "head"), [(BERT, "masked_lm"), (GPT2, "lm")], ids=["bert", "gpt2"])
def test_without_model_type_the_architecture_tells_it(config, head):
    old = {name: value for name, value in config.items() if name != "model_type"}
    assert transformers_config.is_hub_config(json.dumps(old).encode())
    assert entry_of(old).config["head"] == head
    text = refused({**old, "architectures": None})
    assert "has no model_type" in text
    assert "\n" not in text
    assert len(text) < 250


def test_without_architectures_it_is_the_base_model():
    assert entry_of({**BERT, "architectures": None}).config["head"] == "pooler"
    assert entry_of({**GPT2, "architectures": []}).config["head"] == "none"


def test_a_file_without_the_pooler_has_the_states(tmp_path, bert):
    config = {**BERT, "architectures": ["BertModel"]}
    directory = write(tmp_path / "bert", config, state_dict(bert))
    model = zoo.load(directory, pretrained=True)
    assert model.module.head == "none"
    assert model.notes[0] == "the file has no pooler: the head is 'none'"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Path:
    """A classifier of tokens, with as many classes as one of texts has."""
    twin = randomise(text_models.bert("BertForTokenClassification")).float()
    config = {**BERT, "architectures": ["BertForTokenClassification"]}
    return write(tmp_path_factory.mktemp("tokens") / "bert", config, state_dict(twin))


def test_a_classifier_of_tokens_is_none_of_texts(tokens, tmp_path):
    with pytest.raises(zoo.WeightsError, match=r"head 'token_classification', .* none for 'classification'"):
        zoo.load(tokens, pretrained=True, head="classification")
    model = zoo.load(tokens, pretrained=True, head="classification", num_classes=2)
    assert "params/classifier/kernel" in model.notes[-1]
    zoo.save(zoo.load(tokens, pretrained=True), tmp_path / "saved")
    with pytest.raises(zoo.WeightsError, match=r"head 'token_classification', .* none for 'classification'"):
        zoo.load(tmp_path / "saved", pretrained=True, head="classification")


def test_classes_of_a_head_without_any_make_a_classifier_or_are_refused(tmp_path, bert):
    directory = write(tmp_path / "bert", BERT, state_dict(bert))
    model = zoo.load(directory, pretrained=True, num_classes=3)
    assert model.module.head == "classification"
    assert "initialised anew" in model.notes[-1]
    with pytest.raises(zoo.ZooError, match="num_classes=3 has no effect on the head 'masked_lm'"):
        zoo.load(directory, head="masked_lm", num_classes=3)


SEEN = json.loads((CONFIGS.parent / "attributes.json").read_text())["seen"]
SIZES = {
    "hidden_size": 24,
    "dim": 24,
    "n_embd": 24,
    "emb_size": 24,
    "num_attention_heads": 3,
    "n_head": 3,
    "n_heads": 3,
}


@pytest.mark.parametrize("kind", SEEN)
def test_attributes_of_real_files_are_taken(kind):
    """One value of each that 58 public files have, with sizes that go together."""
    found = {name: values[0] for name, values in SEEN[kind].items()}
    sizes = {name: size for name, size in SIZES.items() if name in found}
    config = {"model_type": kind, **found, **sizes}
    made = transformers_config.entry("it", json.dumps(config).encode(), lambda file: None)
    assert made.config["width"] == 24


def test_generated_texts_end_where_the_files_say():
    config = {**GPT2, "eos_token_id": 7}
    assert entry_of(config).config["eos_token_id"] == (7,)
    files = {"generation_config.json": b'{"eos_token_id": [3, 4]}'}
    made = transformers_config.entry("it", json.dumps(config).encode(), files.get)
    assert made.config["eos_token_id"] == (3, 4)
    assert "eos_token_id: '7'; expected whole numbers" in refused({**GPT2, "eos_token_id": "7"})


CLIP = {
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "projection_dim": 12,
    "text_config": {"hidden_size": 16, "num_attention_heads": 2, "hidden_act": "gelu", "dropout": 0.0},
    "vision_config": {
        "hidden_size": 24,
        "image_size": 32,
        "patch_size": 8,
        "model_type": "clip_vision_model",
    },
}


def test_a_config_of_two_encoders_is_read_by_section():
    config = entry_of({**CLIP, "text_config_dict": None}).config
    assert (config["text_width"], config["image_width"], config["projection"]) == (16, 24, 12)
    # transformers' default where a section says nothing, whatever the other one says.
    assert (config["text_activation"], config.get("image_activation", "quick_gelu")) == ("gelu", "quick_gelu")
    # Early files have a section twice, and transformers then reads the second one alone.
    twice = entry_of({**CLIP, "text_config_dict": {"hidden_size": 32, "eos_token_id": 2}}).config
    assert (twice["text_width"], twice["eos_token_id"]) == (32, 2)
    assert "text_activation" not in twice
    with pytest.raises(zoo.ManifestError, match=r"vision_config\.pre_norm: False; nobody has said"):
        entry_of({**CLIP, "vision_config": {**CLIP["vision_config"], "pre_norm": False}})
    with pytest.raises(zoo.ManifestError, match=r"vision_config\.vision_use_head: False; the zoo has True"):
        entry_of({"model_type": "siglip", "vision_config": {"vision_use_head": False}})
