"""Names of tensors and options in files of CLIP and SigLIP; the layers here have transformers' names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters import Transpose
from converters.matching import Fuse, NamesAndRules
from zoo._registry.entry import Input
from zoo._registry.family import ConfigFields

_PROJECTIONS = ("text_projection", "visual.proj")


@dataclass(frozen=True)
class _Projections:
    """Rule for OpenAI's projections, which are kept transposed; an encoder alone has one of them, or none."""

    def expand(self, available: set[str]) -> set[str]:
        """The names stay."""
        return available

    def rewrite(self, links: Sequence[Any]) -> list[Any]:
        """Transposes those that the module has."""
        found, names = [*links], {name for link in links for name in link.tensors}
        for name in _PROJECTIONS:
            found = Transpose(name).rewrite(found) if name in names else found
        return found


_OPENAI: NamesAndRules = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_projection\.weight", _PROJECTIONS[0]),
    (r"^visual_projection\.weight", _PROJECTIONS[1]),
    (r"^vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.", ".attn."),
    Fuse("*.attn.in_proj_*", ("*.attn.q_proj.*", "*.attn.k_proj.*", "*.attn.v_proj.*")),
    _Projections(),
)
# The layer of SigLIP's pooling head packs its projections.
_POOLING = Fuse(
    "*.attention.in_proj_*", ("*.attention.q_proj.*", "*.attention.k_proj.*", "*.attention.v_proj.*")
)
TORCH_NAMES: dict[str, NamesAndRules] = {
    "transformers": (_POOLING,),
    "transformers_encoder": ((r"^(text|vision)_model\.", ""), _POOLING),  # one alone, of transformers 5
    "open_clip": _OPENAI,  # and OpenAI's own files
}

IGNORED = {
    r"(.*\.)?position_ids": "positions, which are computed",
    r"(text_model|text_projection|token_embedding|positional_embedding|transformer|ln_final)(\..*)?": (
        "the text encoder"
    ),
    r"(vision_model|visual_projection|visual)\..*": "the image encoder",
    r"logit_(scale|bias)": "the scale of logits",
    r"input_resolution|context_length|vocab_size": "sizes",
}


def _sizes(section: str, prefix: str) -> dict[str, str]:
    """Returns the attributes of an encoder's blocks, and the keywords that they stand for."""
    names = {
        "hidden_size": "width",
        "num_hidden_layers": "depth",
        "num_attention_heads": "heads",
        "intermediate_size": "feed_forward",
        "hidden_act": "activation",
        "layer_norm_eps": "epsilon",
        "attention_dropout": "attention_dropout",
    }
    return {f"{section}{name}": f"{prefix}_{keyword}" for name, keyword in names.items()}


def _text(section: str) -> dict[str, str]:
    return {
        **_sizes(section, "text"),
        f"{section}vocab_size": "vocab_size",
        f"{section}max_position_embeddings": "max_length",
    }


def _image(section: str) -> dict[str, str]:
    return {
        **_sizes(section, "image"),
        f"{section}image_size": "image_size",
        f"{section}patch_size": "patch_size",
        f"{section}num_channels": "in_channels",
    }


_SECTIONS = ("text_config", "vision_config")
_TEXTS, _IMAGES = (f"{section}." for section in _SECTIONS)
_IDS, _PIXELS = Input("input_ids", (1, 16), "int32"), Input("pixel_values", (1, 224, 224, 3), "float32")
_UNREAD = ("dropout",)  # of old files; no class of transformers has it
# transformers' defaults are create's, but for these.
_CLIP = {"projection": 512}
_SIGLIP = {
    "variant": "siglip",
    "patch_size": 16,
    "image_activation": "gelu_tanh",
    "image_epsilon": 1e-6,
    "vocab_size": 32000,
    "max_length": 64,
    "text_width": 768,
    "text_heads": 12,
    "text_feed_forward": 3072,
    "text_activation": "gelu_tanh",
    "text_epsilon": 1e-6,
}
CONFIG_FIELDS = {
    "clip": ConfigFields(
        keywords={
            **_text(_TEXTS),
            **_image(_IMAGES),
            f"{_TEXTS}eos_token_id": "eos_token_id",
            "projection_dim": "projection",
        },
        heads={"CLIPModel": {"head": "both"}},
        sections=_SECTIONS,
        defaults=_CLIP,
        inputs=(_IDS, _PIXELS),
        # An encoder's own projection is read where it is alone.
        irrelevant=(
            "logit_scale_init_value",
            *(f"{place}{name}" for place in (_TEXTS, _IMAGES) for name in ("projection_dim", *_UNREAD)),
        ),
        processor="CLIPImageProcessor",
        layouts={"": "transformers"},
    ),
    "clip_text_model": ConfigFields(
        keywords={**_text(""), "eos_token_id": "eos_token_id", "projection_dim": "projection"},
        heads={
            "CLIPTextModel": {"head": "text", "projection": 0},
            "CLIPTextModelWithProjection": {"head": "text"},
        },
        defaults=_CLIP,
        inputs=(_IDS,),
        irrelevant=_UNREAD,
        layouts={"CLIPTextModel": "transformers_encoder", "": "transformers"},
    ),
    "clip_vision_model": ConfigFields(
        keywords={**_image(""), "projection_dim": "projection"},
        heads={
            "CLIPVisionModel": {"head": "image", "projection": 0},
            "CLIPVisionModelWithProjection": {"head": "image"},
        },
        defaults=_CLIP,
        inputs=(_PIXELS,),
        irrelevant=_UNREAD,
        processor="CLIPImageProcessor",
        layouts={"CLIPVisionModel": "transformers_encoder", "": "transformers"},
    ),
    "siglip": ConfigFields(
        keywords={**_text(_TEXTS), **_image(_IMAGES), f"{_TEXTS}projection_size": "projection"},
        heads={"SiglipModel": {"head": "both"}},
        sections=_SECTIONS,
        fixed={f"{_IMAGES}vision_use_head": True},
        defaults=_SIGLIP,
        inputs=(_IDS, _PIXELS),
        processor="SiglipImageProcessor",
        layouts={"": "transformers"},
    ),
    "siglip_text_model": ConfigFields(
        keywords={**_text(""), "projection_size": "projection"},
        heads={"SiglipTextModel": {"head": "text"}},
        defaults=_SIGLIP,
        inputs=(_IDS,),
        layouts={"": "transformers_encoder"},
    ),
    "siglip_vision_model": ConfigFields(
        keywords=_image(""),
        heads={"SiglipVisionModel": {"head": "image"}},
        fixed={"vision_use_head": True},
        defaults=_SIGLIP,
        inputs=(_PIXELS,),
        processor="SiglipImageProcessor",
        layouts={"": "transformers_encoder"},
    ),
}
