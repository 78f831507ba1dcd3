"""Folders that transformers opens, against the model that they were made of."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.equivalence import randomise
from tests.reference import published

VISION = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 16,
    "patch_size": 8,
}
TEXT = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
BERT = {**TEXT, "intermediate_size": 40, "max_position_embeddings": 40}
CLIP_IMAGE = {**VISION, "intermediate_size": 40, "patch_size": 4}
CLIP_TEXT = {**BERT, "bos_token_id": 1, "eos_token_id": 2}
SEGFORMER = {
    "hidden_sizes": [8, 8, 12, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "sr_ratios": [4, 2, 1, 1],
    "decoder_hidden_size": 12,
    "num_labels": 3,
}
NAMED = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
MODELS: dict[str, dict[str, Any]] = {
    "ViTForImageClassification": {**VISION, "intermediate_size": 48, **NAMED},
    "ViTModel": {**VISION, "intermediate_size": 48},
    "DeiTForImageClassification": {**VISION, "intermediate_size": 48},
    "Dinov2ForImageClassification": {**VISION, "use_swiglu_ffn": True},
    "Dinov2Backbone": {**VISION, "out_indices": [0, 1]},
    "ResNetForImageClassification": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "BertForSequenceClassification": {**BERT, **NAMED},
    "BertForMaskedLM": BERT,
    "RobertaForTokenClassification": {**BERT, "pad_token_id": 1},
    "DistilBertModel": {"dim": 24, "n_layers": 1, "n_heads": 3, "hidden_dim": 40, "vocab_size": 50},
    "ElectraForSequenceClassification": {**BERT, "embedding_size": 8, **NAMED},
    "AlbertForPreTraining": {**BERT, "embedding_size": 8},
    "MPNetModel": BERT,
    "ModernBertForMaskedLM": {**BERT, "pad_token_id": 0, "attention_bias": True},
    "DebertaV2ForMaskedLM": {**BERT, "relative_attention": True, "pos_att_type": ["c2p"]},
    "CLIPModel": {"text_config": CLIP_TEXT, "vision_config": CLIP_IMAGE, "projection_dim": 20},
    "CLIPTextModel": {**CLIP_TEXT, "hidden_act": "gelu"},
    "CLIPVisionModelWithProjection": {**CLIP_IMAGE, "projection_dim": 20},
    "SiglipModel": {"text_config": CLIP_TEXT, "vision_config": CLIP_IMAGE},
    "SiglipVisionModel": CLIP_IMAGE,
    "SegformerForSemanticSegmentation": SEGFORMER,
    "SegformerForImageClassification": SEGFORMER,
    "GPT2LMHeadModel": {"n_embd": 24, "n_layer": 1, "n_head": 3, "vocab_size": 50, "n_positions": 40},
    "GPTJForCausalLM": {
        "n_embd": 24,
        "n_layer": 1,
        "n_head": 3,
        "vocab_size": 50,
        "n_positions": 40,
        "rotary_dim": 4,
    },
}


def output(model: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    images, texts = rng.random((2, 3, 16, 16)), rng.integers(2, 50, (2, 7))
    both = hasattr(model, "text_model") and hasattr(model, "vision_model")
    given = [texts, images] if both else [images] if model.main_input_name == "pixel_values" else [texts]
    with torch.no_grad():
        outputs = jax.tree.leaves(dict(model(*map(torch.from_numpy, given))))
    return np.concatenate([np.ravel(each) for each in outputs if isinstance(each, torch.Tensor)])


@pytest.mark.parametrize("name", MODELS)
def test_transformers_opens_the_folder_and_computes_the_same(name, tmp_path):
    published.declare_operators()
    import transformers

    cls = getattr(transformers, name)
    twin = randomise(cls(cls.config_class(**MODELS[name], attn_implementation="eager"))).eval()
    twin.tie_weights()
    twin.save_pretrained(tmp_path / "theirs")
    with jax.enable_x64(True):
        zoo.save(zoo.load(tmp_path / "theirs", pretrained=True), tmp_path / "ours", format="transformers")
    again, report = cls.from_pretrained(
        tmp_path / "ours", dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert again.config.id2label == twin.config.id2label
    for key, tensor in twin.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(again.state_dict()[key], tensor), key
    # An activation may have another name, and be the same function but for rounding.
    np.testing.assert_allclose(output(again.eval()), output(twin), rtol=1e-12, atol=1e-12)


def test_published_weights_of_another_library_are_written_with_their_preprocessing(tmp_path):
    """With names of classes, and what pictures become, as AutoModel and AutoImageProcessor read it."""
    published.declare_operators()
    import transformers

    model = zoo.load("resnet18", depth=10, channels=8, num_classes=2)
    zoo.save(model, tmp_path / "it", labels=["cat", "dog"], format="transformers")
    config = json.loads((tmp_path / "it" / "config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog"}
    twin = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "it").eval()
    picture = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    processor = published.processor("BitImageProcessorPil", **_processor(tmp_path / "it"))
    inputs = processor(picture, return_tensors="np")["pixel_values"]
    assert np.abs(np.moveaxis(inputs, 1, -1) - zoo.preprocess(tmp_path / "it")(picture)).max() < 1e-5
    with torch.no_grad():
        expected = twin(torch.from_numpy(inputs)).logits.numpy()
    again = zoo.load(tmp_path / "it", pretrained=True)
    assert again.module == model.module
    assert again.entry.class_names == ("cat", "dog")
    np.testing.assert_allclose(again(np.moveaxis(inputs, 1, -1)), expected, rtol=1e-4, atol=1e-5)


def _processor(directory: Any) -> dict[str, Any]:
    return json.loads((directory / "preprocessor_config.json").read_text())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlp_mnist", "of no architecture that transformers has"),
        ("resnet20_cifar10", "no class of the family"),
    ],
)
def test_what_transformers_lacks_is_refused(name, message, tmp_path):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.save(zoo.load(name), tmp_path / "it", format="transformers")
    assert not (tmp_path / "it").exists()
    with pytest.raises(
        zoo.ZooError,
        match="format='onnx'; expected one of zoo, safetensors, msgpack, npz, orbax, transformers",
    ):
        zoo.save(zoo.load("mlp_mnist"), tmp_path / "it", format="onnx")


SAID: dict[str, Any] = {
    "a name": "resnet18",
    "fields": {"resize": 20, "crop": [16, 12], "interpolation": "box", "mean": (0.5,), "std": (0.5,)},
    "a processor": {"image_processor_type": "ViTImageProcessor", "size": 16},
}


@pytest.mark.parametrize("how", SAID.values(), ids=SAID)
def test_preprocessing_and_labels_of_ones_own_are_kept(how, tmp_path):
    model = zoo.load("cnn_mnist")
    zoo.save(model, tmp_path / "it", preprocess=how, labels=[*"abcdefghij"])
    entry = zoo.info(tmp_path / "it")
    assert entry.class_names == tuple("abcdefghij")
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    found = zoo.preprocess(tmp_path / "it")(picture)
    zoo.save(model, tmp_path / "again", preprocess=entry.preprocess)
    np.testing.assert_array_equal(zoo.preprocess(tmp_path / "again")(picture), found)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"labels": ["a"]}, "expected a name for each of the 10 classes"),
    "text": ({"labels": "abcdefghij"}, "expected a name for each of the 10 classes"),
    "a field": (
        {"preprocess": {"interpolation": "none"}},
        "preprocess.interpolation: expected one of nearest",
    ),
    "a model without": ({"preprocess": "vae_mnist"}, "'vae_mnist' does not say how"),
    "no model": ({"preprocess": "resnet19"}, "did you mean 'resnet18'"),
    "a size": ({"preprocess": {"size": "large"}}, "expected numbers of pixels"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_preprocessing_is_refused(options, message, tmp_path):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.save(zoo.load("cnn_mnist"), tmp_path / "it", **options)
