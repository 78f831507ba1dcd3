"""Models of transformers for texts and images, with the outputs of the zoo's."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
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


def entry_of_library(name: str, sizes: Mapping[str, Any]) -> nn.Module:
    """A class of both encoders in the sizes of an entry's config, without numbers."""
    parent = _named(name)
    renamed = {
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
    }
    config = {
        part: {theirs: sizes[f"{own}_{ours}"] for ours, theirs in renamed.items() if f"{own}_{ours}" in sizes}
        for own, part in (("text", "text_config"), ("image", "vision_config"))
    }
    config["vision_config"]["patch_size"] = sizes.get("patch_size", 32)
    config["text_config"]["vocab_size"] = sizes.get("vocab_size", 49408)
    more = {"projection_dim": sizes.get("text_width", 512)} if name == "CLIPModel" else {}
    with torch.device("meta"):
        return parent(_config(parent, **config, **more))


class OpenAI(nn.Module):
    """CLIP with the names of OpenAI's files, which are open_clip's, too."""

    def __init__(self, embed: int, text: Mapping[str, Any], image: Mapping[str, Any]) -> None:
        super().__init__()
        width, side = text["hidden_size"], image["image_size"] // image["patch_size"]
        self.visual = OpenAIVisual(embed, side**2 + 1, image)
        self.transformer = _blocks(text)
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.empty(text["max_position_embeddings"], width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, ids: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        hidden = torch.full((length, length), -torch.inf, dtype=x.dtype).triu(1)
        for block in self.transformer.resblocks:
            x = block(x, hidden)
        x = self.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection
        texts, images = (each / each.norm(dim=-1, keepdim=True) for each in (x, self.visual(pixels)))
        logits = self.logit_scale.exp() * images @ texts.T
        return logits, logits.T, texts, images


class OpenAIVisual(nn.Module):
    """Its image encoder."""

    def __init__(self, embed: int, tokens: int, image: Mapping[str, Any]) -> None:
        super().__init__()
        width, patch = image["hidden_size"], image["patch_size"]
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _blocks(image)
        self.proj = nn.Parameter(torch.empty(width, embed))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer.resblocks:
            x = block(x, None)
        return self.ln_post(x[:, 0]) @ self.proj


class OpenAIBlock(nn.Module):
    """A block with the packed projections of PyTorch's attention."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, hidden), gelu=QuickGELU(), c_proj=nn.Linear(hidden, width))
        )

    def forward(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=hidden)[0]
        return x + self.mlp(self.ln_2(x))


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def _blocks(sizes: Mapping[str, Any]) -> nn.Module:
    made = nn.Module()
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    made.resblocks = nn.ModuleList(
        OpenAIBlock(width, heads, sizes["intermediate_size"]) for _ in range(sizes["num_hidden_layers"])
    )
    return made


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
