"""Adapters of PEFT by their papers' formulas, beside a torch model's layers, and the files that PEFT writes.

LoRA: https://arxiv.org/abs/2106.09685, rsLoRA: https://arxiv.org/abs/2312.03732, DoRA:
https://arxiv.org/abs/2402.09353. PEFT 0.21.2 writes the same names and gives the same outputs.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import converters

CONFIG = {"peft_type": "LORA", "r": 3, "lora_alpha": 12, "bias": "none", "init_lora_weights": True}


def adapt(model: nn.Module, ranks: dict[str, int], *, dora: bool = False, bias: bool = False, **config: Any):
    """Adds random matrices to layers of a float64 model, without changing a weight.

    Args:
        model: The base model, whose outputs are then the adapted ones.
        ranks: Name of a layer -> the rank of its matrices.
        dora: If true, its rows have lengths of their own.
        bias: If true, the second matrix has a bias.
        config: Attributes of adapter_config.json; `alpha_pattern` holds whole names of layers.

    Returns:
        The tensors of the adapter's file, and its configuration.
    """
    rng = np.random.default_rng(1)
    config = {**CONFIG, **config}
    tensors: dict[str, np.ndarray] = {}
    for name, rank in ranks.items():
        layer = model.get_submodule(name)
        alpha = config.get("alpha_pattern", {}).get(name, config["lora_alpha"])
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        wide = layer.weight.T if _inputs_first(layer) else layer.weight
        a, b = rng.normal(size=(rank, *wide.shape[1:])), rng.normal(size=(len(wide), rank))
        b = b.reshape(*b.shape, *[1] * (wide.ndim - 2))
        parts = {"A.weight": a, "B.weight": b}
        if isinstance(layer, nn.Embedding):
            parts = {"embedding_A": a, "embedding_B": b}
        if bias:
            parts["B.bias"] = rng.normal(size=len(wide))
        if dora:
            parts["magnitude_vector"] = rng.uniform(0.5, 2, size=len(wide)).reshape(
                (1, -1, *[1] * (wide.ndim - 2)) if wide.ndim > 2 else -1
            )
        tensors |= {f"base_model.model.{name}.lora_{part}": value for part, value in parts.items()}
        layer.register_forward_hook(
            _Beside({key: torch.from_numpy(each) for key, each in parts.items()}, scale)
        )
    return tensors, config


def write(
    directory: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], suffix="safetensors"
) -> Path:
    """Writes the two files of an adapter."""
    directory.mkdir()
    (directory / "adapter_config.json").write_text(json.dumps(config))
    converters.write_checkpoint(tensors, directory / f"adapter_model.{suffix}")
    return directory


def _inputs_first(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Embedding) or type(layer).__name__ == "Conv1D"


class _Beside:
    """Returns what the matrices add to a layer's output."""

    def __init__(self, parts: dict[str, Tensor], scale: float) -> None:
        self.parts, self.scale = parts, scale

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        a, b = (self.parts.get(f"{k}.weight", self.parts.get(f"embedding_{k}")) for k in "AB")
        if isinstance(layer, nn.Embedding):
            added, bias, axes = F.embedding(inputs[0], a.T) @ b.T, 0, (-1,)
        elif isinstance(layer, nn.Conv2d):
            added = F.conv2d(F.conv2d(inputs[0], a, None, layer.stride, layer.padding), b)
            bias, axes = (0 if layer.bias is None else layer.bias[:, None, None]), (-1, 1, 1)
        else:
            added, bias, axes = inputs[0] @ a.T @ b.T, layer.bias, (-1,)
        added = self.scale * (added + self.parts.get("B.bias", 0))
        if "magnitude_vector" not in self.parts:
            return output + added
        weight = layer.weight.T if _inputs_first(layer) else layer.weight
        rows = weight.flatten(1) + self.scale * b.flatten(1) @ a.flatten(1)
        gain = (self.parts["magnitude_vector"].flatten() / rows.norm(dim=1)).reshape(axes)
        return (output - bias + added) * gain + bias
