"""Models of transformers for texts and images, with the outputs of the zoo's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tests.reference.published import declare_operators

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 48,
    "max_position_embeddings": 9,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
IMAGE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 8,
}


def clip(*, eos_token_id: int, **options: Any) -> nn.Module:
    """A CLIPModel."""
    text = {**TEXT, "eos_token_id": eos_token_id}
    return _pair("CLIPModel", text_config=text, vision_config=IMAGE, projection_dim=12, **options)


def siglip() -> nn.Module:
    """A SiglipModel."""
    return _pair("SiglipModel", text_config={**TEXT, "projection_size": 24}, vision_config=IMAGE)


def published_class(name: str, *, text_config: Mapping[str, Any]) -> nn.Module:
    """A class of both encoders as it is published, with its own outputs."""
    more = {"projection_dim": 12} if name == "CLIPModel" else {}
    parent = _named(name)
    return parent(_config(parent, text_config={**TEXT, **text_config}, vision_config=IMAGE, **more))


def pipeline(model: nn.Module, directory: Path, processor: Any) -> Any:
    """transformers' pipeline that finds labels for pictures."""
    import transformers

    tokens = transformers.AutoTokenizer.from_pretrained(str(directory))
    return transformers.pipeline(
        "zero-shot-image-classification", model=model, tokenizer=tokens, image_processor=processor
    )


def encoder(name: str, *, rate: float = 0.0, **options: Any) -> nn.Module:
    """A text or image encoder by its class's name, with dropout of the attention weights."""
    parent = _named(name)
    sizes, more = (TEXT, {}) if "Text" in name else (IMAGE, {"interpolate_pos_encoding": True})

    class Output(parent):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            out = super().forward(x, **more)
            if "Projection" not in name:
                return out.pooler_output, out.last_hidden_state, out.pooler_output
            return out.text_embeds, out.last_hidden_state, self.pooled

        def keep(self, _: nn.Module, args: tuple[Tensor]) -> None:
            self.pooled = args[0]

    made = Output(_config(parent, **{**sizes, **options}, attention_dropout=rate))
    if "Projection" in name:
        made.text_projection.register_forward_pre_hook(made.keep)
    return made


def _pair(name: str, **options: Any) -> nn.Module:
    parent = _named(name)

    class Output(parent):
        def forward(self, ids: Tensor, pixels: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
            out = super().forward(ids, pixels, mask, interpolate_pos_encoding=True)
            return out.logits_per_image, out.logits_per_text, out.text_embeds, out.image_embeds

    return Output(_config(parent, **options))


def _named(name: str) -> Any:
    declare_operators()
    import transformers

    return getattr(transformers, name)


def _config(parent: Any, **options: Any) -> Any:
    # The softmax of the other attention is in float32 whatever the inputs are in.
    return parent.config_class(**options, attn_implementation="sdpa")
