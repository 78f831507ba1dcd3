"""Decoders of transformers in float64 throughout: theirs compute norms and positions in float32 whatever."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.reference.published import declare_operators
from tests.reference.rotary_models import float64_only

SIZES = {
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
}
# model_type -> the other name of the last of them
FEED_FORWARD = {"bloom": "n_inner", "falcon": "ffn_hidden_size", "gptj": "n_inner", "opt": "ffn_dim"}


@contextmanager
def wide() -> Iterator[None]:
    """Inside, what is in float32 or casts to it is in float64."""
    with float64_only(), patch.object(torch, "float", torch.float64):
        yield


def plain(name: str, parent: Any = None, **options: Any) -> Any:
    """A model by its class's name, with frequencies in float64; or of a class below it."""
    declare_operators()
    import transformers

    cls = getattr(transformers, name)
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    # "eager" alone caps products, and in float64 its softmax is, too.
    said = SIZES | ids | {"attn_implementation": "sdpa"} | options
    if cls.config_class.model_type == "bloom":  # which has no longest text
        del said["max_position_embeddings"]
    if kind := FEED_FORWARD.get(cls.config_class.model_type):
        said[kind] = said.pop("intermediate_size")
    config = cls.config_class(**said)
    with wide():
        return (parent or cls)(config)


def decoder(name: str, **options: Any) -> nn.Module:
    """The same; called, it gives logits, or else states."""
    declare_operators()
    import transformers

    class Output(getattr(transformers, name)):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            if self.dtype != torch.float64:
                out = super().forward(input_ids, attention_mask=attention_mask)
            else:
                with wide():
                    out = super().forward(input_ids, attention_mask=attention_mask)
            return out["logits"] if "logits" in out else out["last_hidden_state"]

    return plain(name, Output, **options)


class Gelu(nn.Module):
    """BLOOM's activation without the derivative of its own, which has few digits."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5 * (1 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def bloom(name: str, **options: Any) -> nn.Module:
    made = decoder(name, **options)
    for block in made.h:
        block.mlp.gelu_impl = Gelu()
    return made


class Experts(nn.ModuleList):
    """Experts with matrices of their own, as files have them; transformers joins them."""

    def __init__(self, count: int, width: int, feed_forward: int) -> None:
        super().__init__(nn.Module() for _ in range(count))
        for expert in self:
            expert.gate_proj = nn.Linear(width, feed_forward, bias=False)
            expert.up_proj = nn.Linear(width, feed_forward, bias=False)
            expert.down_proj = nn.Linear(feed_forward, width, bias=False)

    def forward(self, states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros_like(states)
        for number, expert in enumerate(self):
            tokens, place = torch.where(chosen == number)
            hidden = nn.functional.silu(expert.gate_proj(states[tokens])) * expert.up_proj(states[tokens])
            total = total.index_add(0, tokens, weights[tokens, place, None] * expert.down_proj(hidden))
        return total


def mixture(name: str, **options: Any) -> nn.Module:
    """A decoder with experts whose hidden layers have this size: `moe_intermediate_size`."""
    made = decoder(name, **options)
    for layer in made.model.layers:
        if hasattr(layer.mlp, "experts"):
            size = options["moe_intermediate_size"]
            layer.mlp.experts = Experts(options["num_experts"], SIZES["hidden_size"], size)
    return made
