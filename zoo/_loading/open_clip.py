"""Models in open_clip's layout: what open_clip_config.json says, in the terms of transformers' CLIP.

Fields: https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/model.py, `CLIPVisionCfg` and
`CLIPTextCfg`. As with transformers', what changes the model and the zoo does not have is refused by name.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from zoo._errors import ManifestError
from zoo._loading import transformers_config
from zoo._loading.sentence_transformers import parsed
from zoo._registry.entry import Entry, Photos

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
LAYOUT = "open_clip"
HEAD_WIDTH, MLP_RATIO, CONTEXT, VOCABULARY = 64, 4.0, 77, 49408  # open_clip's defaults
ARGMAX = 2  # eos_token_id of transformers' CLIP that stands for the largest id of a text
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

# Fields that are read below, and those of which the zoo has one value, which is open_clip's default.
READ = {
    "": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"},
    "vision_cfg": {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"},
}
FIXED: Mapping[str, Mapping[str, Any]] = {
    "": {"custom_text": False, "nonscalar_logit_scale": False, "init_logit_bias": None},
    "vision_cfg": {"pool_type": "tok", "in_channels": 3},
    "text_cfg": {"pool_type": "argmax", "eos_id": ARGMAX},
}
# Fields that say how a model is trained, or which tokenizer it has.
IRRELEVANT = {
    *("init_logit_scale", "multimodal_cfg", "patch_dropout", "output_tokens", "pad_id"),
    *("tokenizer_kwargs", "hf_tokenizer_name", "bos_id"),
}


def entry(name: str, content: bytes, read: transformers_config.Read, head: str | None = None) -> Entry:
    """Returns the entry of a model in open_clip's layout, but for its weights.

    Args:
        name: Name that it is loaded by.
        content: Content of open_clip_config.json.
        read: Gives its other files, of which none is needed.
        head: The head that the caller chooses.

    Raises:
        ManifestError: the zoo has no such model; all that it does not have is listed.
    """
    said = parsed(f"{name}: {CONFIG}", content, dict)
    config = said.get("model_cfg")
    sections = {"": config} | {part: (config or {}).get(part) for part in ("vision_cfg", "text_cfg")}
    if not all(isinstance(each, dict) for each in sections.values()):
        raise ManifestError(f"{name}: {CONFIG} has no model_cfg with vision_cfg and text_cfg.")
    problems = [*_problems(sections)]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} is a model of open_clip that the zoo does not have:{lines}")
    try:
        translated = _translated(sections[""], sections["vision_cfg"], sections["text_cfg"])
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ManifestError(f"{name}: {CONFIG} lacks {error}, or has what is no number there.") from error
    made = transformers_config.entry(name, json.dumps(translated).encode(), lambda file: None, head)
    how = _photos(said.get("preprocess_cfg") or {}, translated["vision_config"]["image_size"])
    return replace(made, layout=LAYOUT, preprocess=how if made.images else None)


def _problems(sections: Mapping[str, Any]) -> Iterator[str]:
    """Yields the fields that the zoo does not have."""
    for section, fields in sections.items():
        place = f"{section}." if section else ""
        for field, value in fields.items():
            fixed = FIXED[section]
            if field in fixed:
                if value not in (None, fixed[field]):
                    yield f"{place}{field}: {value!r}; the zoo has {fixed[field]!r} only"
            elif field not in READ[section] | IRRELEVANT and value not in (None, False, {}):
                yield f"{place}{field}: {value!r}; nobody has said what it means for the family"
    if isinstance(sections["vision_cfg"].get("layers"), list):
        yield f"vision_cfg.layers: {sections['vision_cfg']['layers']!r}; the zoo has no ResNet of CLIP"


def _translated(
    whole: Mapping[str, Any], image: Mapping[str, Any], text: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the config.json of transformers' class."""
    shared = {"hidden_act": "quick_gelu" if whole.get("quick_gelu") else "gelu", "layer_norm_eps": 1e-5}

    def sizes(fields: Mapping[str, Any], heads: int) -> dict[str, Any]:
        return {
            "hidden_size": fields["width"],
            "num_hidden_layers": fields["layers"],
            "num_attention_heads": heads,
            "intermediate_size": int(fields["width"] * fields.get("mlp_ratio", MLP_RATIO)),
            **shared,
        }

    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": whole["embed_dim"],
        "vision_config": {
            **sizes(image, image["width"] // image.get("head_width", HEAD_WIDTH)),
            "image_size": image["image_size"],
            "patch_size": image["patch_size"],
        },
        "text_config": {
            **sizes(text, text["heads"]),
            "vocab_size": text.get("vocab_size", VOCABULARY),
            "max_position_embeddings": text.get("context_length", CONTEXT),
            "eos_token_id": ARGMAX,
        },
    }


def _photos(said: Mapping[str, Any], size: int) -> Photos | None:
    """Returns the preprocessing; None where it is one that the zoo does not have."""
    mode = said.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        return None
    return Photos(
        resize=(size, size) if mode == "squash" else size,
        crop=None if mode == "squash" else size,
        interpolation=said.get("interpolation", "bicubic"),
        mean=tuple(said.get("mean", MEAN)),
        std=tuple(said.get("std", STD)),
    )
