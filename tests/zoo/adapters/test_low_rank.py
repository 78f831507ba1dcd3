"""Matrices that finetuning trains: beside the kernels, in them, and in PEFT's files."""

import json

import jax
import numpy as np
import pytest

import zoo
from tests.equivalence import state_dict
from tests.zoo.adapters.test_merge import BERT_CLASSES, torch_model
from tests.zoo.loading.test_transformers_config import GPT2, write
from zoo._adapters import low_rank

HEADS = {"gpt2": ("score", "classifier"), "bert": ("classifier", "pooler")}
ROBERTA = {**BERT_CLASSES, "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"]}
ROBERTA |= {"pad_token_id": 1, "type_vocab_size": 1}


def model_of(config, tmp_path, **options):
    if config is ROBERTA:
        return zoo.load(write(tmp_path / "base", ROBERTA, {}), **options)
    tensors = {name: each.astype("f4") for name, each in state_dict(torch_model(config)).items()}
    return zoo.load(write(tmp_path / "base", config, tensors), pretrained=True, **options)


def randomized(model):
    """Both matrices random; the second is zero at first."""
    rng = np.random.default_rng(0)
    factors = jax.tree.map(
        lambda array: rng.normal(size=array.shape).astype("f4"), model.variables["params"][low_rank.FACTORS]
    )
    params = {**model.variables["params"], low_rank.FACTORS: factors}
    return model.replace(variables={**model.variables, "params": params})


@pytest.mark.parametrize(
    ("config", "options", "name"),
    [
        (GPT2, {"scan": True}, "transformer.h.1.mlp.c_proj"),
        (BERT_CLASSES, {}, "bert.encoder.layer.1.attention.self.key"),
        (ROBERTA, {}, "roberta.encoder.layer.1.attention.self.key"),
    ],
    ids=["blocks of a loop", "head", "names of the class"],
)
def test_what_is_written_is_what_is_merged(config, options, name, tmp_path):
    model = model_of(config, tmp_path, **options)
    head = HEADS["gpt2" if config is GPT2 else "bert"]
    begun = low_rank.with_factors(model, 3, head=head, seed=0)
    jax.tree.map(np.testing.assert_array_equal, low_rank.merged(begun.variables, 4.0), model.variables)
    trained = randomized(begun)
    low_rank.write(trained, tmp_path / "adapter", alpha=12.0, head=head, base="base")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert name in config["target_modules"]
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (3, 12.0, "base")
    wanted = low_rank.merged(trained.variables, 4.0)
    made = zoo.merge_adapter(model, tmp_path / "adapter").variables
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5), made, wanted)


def test_a_model_without_dense_layers_is_refused():
    with pytest.raises(zoo.ZooError, match="'resnet20_cifar10' has no dense layers that LoRA"):
        low_rank.with_factors(zoo.load("resnet20_cifar10"), 3, head=("fc",), seed=0)
