"""Encoder-decoders of transformers, and encoders alone: one output, and shared embeddings in one place."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from tests.reference.published import declare_operators
from tests.reference.text_models import Tied

ARGUMENTS = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
T5 = {
    "vocab_size": 50,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}


BART = {
    "vocab_size": 50,
    "d_model": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}


class Shared(nn.Module):
    """An embedding whose vectors are another's, by a factor."""

    def __init__(self, owner: nn.Embedding, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.owners = (owner,)  # in a tuple, so that it is no submodule

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.owners[0].weight) * self.scale


def model(name: str, **options: Any) -> Any:
    """A model by its class's name."""
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Outputs(parent):
        def forward(self, *inputs: Tensor, **keywords: Any) -> Any:
            out = super().forward(**dict(zip(ARGUMENTS, inputs, strict=False)), **keywords)
            return out if keywords else out.get("logits", out.get("last_hidden_state"))

    return Outputs(parent.config_class(**options, use_cache=False, attn_implementation="eager"))


def published(name: str, **options: Any) -> Any:
    """A model of transformers as it is, but for norms with float32 in them, for which PyTorch's stand."""
    declare_operators()
    import transformers

    parent = getattr(transformers, name)
    return _exact(parent(parent.config_class(**options)))


def _exact(made: nn.Module) -> nn.Module:
    for module in [*made.modules()]:
        for child, norm in module.named_children():
            if type(norm).__name__.endswith("T5LayerNorm"):
                setattr(module, child, nn.RMSNorm(len(norm.weight), norm.variance_epsilon))
    return made


def t5(name: str = "T5ForConditionalGeneration", *, rate: float = 0.0, **options: Any) -> nn.Module:
    made = _exact(model(name, **{**T5, **options}, dropout_rate=rate))
    made.encoder.embed_tokens = Shared(made.shared)
    if not name.endswith("EncoderModel"):
        made.decoder.embed_tokens = Shared(made.shared)
    if name.endswith("ConditionalGeneration"):
        untied = options.get("tie_word_embeddings") is False
        made.lm_head = nn.Linear(T5["d_model"], 50, bias=False) if untied else Tied(made.shared)
    return made


def bart(name: str, *, rate: float = 0.0, **options: Any) -> nn.Module:
    """A BART or a relative by its class's name; rows of padding have gradients, too."""
    rates = ("dropout", "attention_dropout", "activation_dropout", "classifier_dropout")
    made = model(name, **{**BART, **options}, **dict.fromkeys(rates, rate))
    inner = getattr(made, "model", made)
    for each in (inner.encoder, inner.decoder):
        each.embed_tokens.padding_idx = None
    if hasattr(inner, "shared"):
        inner.shared.padding_idx = None
        for each in (inner.encoder, inner.decoder):
            scale = getattr(each.embed_tokens, "embed_scale", None)
            each.embed_tokens = Shared(inner.shared, 1.0 if scale is None else scale)
    if hasattr(made, "lm_head"):
        made.lm_head = Tied(inner.shared if hasattr(inner, "shared") else inner.decoder.embed_tokens)
    return made
