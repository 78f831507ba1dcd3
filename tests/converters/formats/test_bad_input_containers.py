"""Sections C and E: which of a file's mappings is the weights, and names that no full model has."""

import numpy as np
import pytest
import torch

from converters import read_checkpoint
from converters.formats import safetensors
from converters.formats.tensor_names import are_flax
from tests.converters.formats.bad import refused

LEGACY = {"_use_new_zipfile_serialization": False}
W = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.arange(2.0)}
OTHER = {"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)}
OPTIMIZER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3)}},
    "param_groups": [{"lr": 0.1, "params": [0, 1]}],
}
NESTED = {
    "state_dict": {"state_dict": W, "optimizer": OPTIMIZER, "epoch": 3},
    "model": {"model": W, "optim": OPTIMIZER, "lr_scheduler": {"last": torch.ones(2)}},
    "any name": {"my_weights": W, "arch": "net"},
    "two levels": {"checkpoint": {"model": {"state_dict": W}}, "epoch": 1},
    "the best accuracy as a tensor": {"state_dict": W, "best_acc1": torch.tensor(76.0), "epoch": 3},
    "Lightning": {
        "state_dict": W,
        "optimizer_states": [OPTIMIZER],
        "callbacks": {"ModelCheckpoint": {"best": torch.ones(3), "monitor": "loss"}},
        "loops": {"fit": {"state": torch.ones(2)}},
        "hyper_parameters": {"weights": torch.ones(2)},
    },
    "rng states": {"state_dict": W, "rng_state": torch.ones(9), "rng_states": {"cpu": torch.ones(9)}},
    "DeepSpeed": {"module": W, "optimizer": OPTIMIZER, "lr_scheduler": None},
    "one mapping under two names": {"model": W, "state_dict": W},
    "flat": W,
    "flat with a step": {**W, "step": 3},
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_the_weights_are_found(name, options, tmp_path):
    torch.save(NESTED[name], tmp_path / "x.pth", **options)
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert {name: array.tolist() for name, array in checkpoint.items()} == {
        name: tensor.tolist() for name, tensor in W.items()
    }
    assert bool(checkpoint.notes) == (name != "flat")


AMBIGUOUS = {
    "model and ema": ({"model": W, "ema": OTHER}, "ema"),
    "state_dict and model_ema": ({"state_dict": W, "model_ema": OTHER, "epoch": 1}, "model_ema"),
    "params and params_ema": ({"params": W, "params_ema": OTHER}, "params_ema"),
    "nested ema": ({"model": W, "ema": {"decay": 0.9, "module": OTHER}}, "ema"),
    "generator and its ema": ({"gan": {"generator": W, "generator_ema": OTHER}}, "gan.generator_ema"),
    "a name with a dot": ({"a.b": OTHER, "c": W}, "a.b"),
    "top level and another": ({**OTHER, "ema": W}, ""),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_several_sets_of_weights_are_listed_to_choose_from(name, tmp_path):
    content, key = AMBIGUOUS[name]
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "several sets of weights", f"key={key!r}"[:-1], "2 entries")
    assert not read_checkpoint(tmp_path / "x.pth", key=key)["fc.weight"].any()
    refused(tmp_path / "x.pth", "no weights in 'emma'", "choose", key="emma")


def names(*wanted, shape=(2,)):
    return {name: torch.ones(shape) for name in wanted}


REFUSED = {
    "optimizer only": (OPTIMIZER, ["no model weights", "'state', 'param_groups'"]),
    "numbers only": ({"epoch": 3, "loss": 0.1}, ["no model weights", "'epoch', 'loss'"]),
    "LoRA": (
        names("base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight"),
        ["adapter weights"],
    ),
    "LoRA of images": (names("lora_unet_mid.lora_up.weight", "lora_unet_mid.alpha"), ["adapter weights"]),
    "GPTQ": (names("h.0.qweight", "h.0.qzeros", "h.0.scales"), ["quantised weights", "'h.0.qweight'"]),
    "bitsandbytes": (names("h.0.weight", "h.0.SCB"), ["quantised weights"]),
    "four bits": (names("h.0.weight", "h.0.weight.quant_state.bitsandbytes__nf4"), ["quantised weights"]),
    "an empty part": (names("a..b"), ["'a..b'", "empty part"]),
    "a leading dot": (names(".a"), ["'.a'", "empty part"]),
    "an empty name": (names(""), ["''", "empty part"]),
    "a name of a million characters": (names("w" * 1_000_000), ["1,000,000 characters"]),
    "look-alikes": (names("caf\u00e9.w", "cafe\u0301.w"), ["'caf\\xe9.w'", "'cafe\\u0301.w'", "encoding"]),
    "a surrogate": (names("\ud800"), ["'\\ud800'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_full_model_is_refused(name, tmp_path):
    content, words = REFUSED[name]
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", *words)


def test_names_are_checked_in_safetensors_too(tmp_path):
    safetensors.write(tmp_path / "x.safetensors", {"a.lora_A": np.ones(2), "a.lora_B": np.ones(2)})
    refused(tmp_path / "x.safetensors", "adapter weights")


def test_a_million_names_are_refused(tmp_path):
    tensor = torch.ones(1)
    torch.save({str(i): tensor for i in range(200_000)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "limit")


def test_names_of_flax_are_told_from_those_of_pytorch():
    assert are_flax(["params/dense/kernel", "batch_stats/bn/mean"])
    assert not are_flax(["dense.weight"])
    assert not are_flax(["params/dense/kernel", "dense.weight"])
    assert not are_flax([])
