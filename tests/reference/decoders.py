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
    if cls.config_class.model_type == "opt":  # has another name
        said["ffn_dim"] = said.pop("intermediate_size")
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
