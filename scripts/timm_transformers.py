"""Transformers and mixers of timm as the zoo's: a function for each class, as `timm_configs` calls them."""

from typing import Any

import zoo.swin
from scripts.timm_terms import Model, Options, Sides, UnknownOptionError, epsilon, name_of, renamed, side_of

_VIT = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "reg_tokens": "registers",
    "qkv_bias": "qkv_bias",
    "pre_norm": "pre_norm",
    "final_norm": "final_norm",
    "fc_norm": "fc_norm",
    "class_token": "class_token",
    "act_layer": "activation",
}
_POOLING = {"avg": "average", "map": "attention", "token": "token"}


def vit(options: Options, sides: Sides) -> Model:
    """Returns a VisionTransformer."""
    placed = options.get("reg_tokens") and not options.get("no_embed_class")
    other = name_of(options.get("norm_layer")) == "RmsNorm" or name_of(options.get("block_fn")) == _POST
    if placed or other or options.get("scale_attn_norm"):
        return _unturned(options, sides)
    gated = options.get("mlp_layer")
    swiglu = name_of(gated) == "GluMlp" and gated.keywords.get("gate_last") is False
    if swiglu and name_of(options["act_layer"]) == "SiLU":
        del options["mlp_layer"], options["act_layer"]
    config = {"image_size": side_of(sides), **epsilon(options), **renamed(options, _VIT)}
    options.pop("img_size", None)  # that of the weights counts
    if any(side % config.get("patch_size", 16) for side in sides):
        raise UnknownOptionError("images that patches do not divide")
    if options.get("global_pool") in _POOLING:
        config["pooling"] = _POOLING[options.pop("global_pool")]
    if options.pop("no_embed_class", False):
        config["class_position"] = False
    if options.get("init_values") is not None:
        config["layer_scale"] = options.pop("init_values")
    ratio, width = options.pop("mlp_ratio", 4), config.get("width", 768)
    if swiglu:
        config |= {"swiglu": True, "feed_forward": int(width * ratio) // 2}
    elif ratio != 4:
        config["feed_forward"] = int(width * ratio)
    return Model("vit", config)


_POST = "ResPostBlock"  # whose norms come after attention and MLP
# Options of Eva for blocks that know no places.
_UNTURNED = {"registers": 0, "positions": True, "layer_scale": 0.0, "epsilon": 1e-6, "rotary": None}
_VIT_AS_EVA = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "reg_tokens": "registers",
    "class_token": "class_token",
    "init_values": "layer_scale",
    "qkv_bias": "qkv_bias",
    "proj_bias": "biases",
    "scale_attn_norm": "attention_norm",
    "scale_mlp_norm": "mlp_norm",
}


def _unturned(options: Options, sides: Sides) -> Model:
    """Returns a VisionTransformer with norms, places or biases that the zoo has in another family."""
    options.pop("img_size", None)  # that of the weights counts
    config = {"image_size": side_of(sides), **_UNTURNED, **renamed(options, _VIT_AS_EVA)}
    config |= epsilon(options)
    if rms := epsilon(options, kind="RmsNorm"):
        config |= {"norm": "rms", **rms}
    of_patches = options.get("embed_norm_layer")
    if of_patches and (name_of(of_patches), of_patches.keywords) == ("RmsNorm", {"eps": rms.get("epsilon")}):
        del options["embed_norm_layer"]
        config["patch_norm"] = True
    if (name_of(options.get("mlp_layer")), options.get("act_layer")) == ("SwiGLU", "silu"):
        del options["mlp_layer"], options["act_layer"]
        config["swiglu"] = True
    if name_of(options.get("block_fn")) == _POST:
        del options["block_fn"]
        config |= {"post_norm": True, "layer_scale": 0.0}  # whose value is the norms' first
    pooling = options.pop("global_pool", "token")
    if pooling not in ("avg", "token"):
        raise UnknownOptionError(f"registers with places, global_pool={pooling}")
    config["pooling"] = _POOLING[pooling]
    config["fc_norm"] = options.pop("fc_norm", pooling == "avg")
    config["key_bias"] = config.get("qkv_bias", True)
    return Model("eva", _eva_sizes(config, options), "timm_vit")


def distilled(options: Options, sides: Sides) -> Model:
    """Returns a VisionTransformer with a second token, for a teacher's answer."""
    found = vit(options, sides)
    return found._replace(config={**found.config, "distilled": True})


_EVA = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "num_reg_tokens": "registers",
    "class_token": "class_token",
    "use_abs_pos_emb": "positions",
    "qkv_bias": "qkv_bias",
    "qk_norm": "query_norm",
    "scale_attn_inner": "attention_norm",
    "scale_mlp": "mlp_norm",
    "swiglu_mlp": "swiglu",
    "use_pre_transformer_norm": "pre_norm",
    "use_post_norm": "post_norm",
    "use_post_transformer_norm": "final_norm",
    "init_values": "layer_scale",
    "rope_grid_indexing": "rotary_order",
    "rope_grid_offset": "rotary_offset",
    "rope_rescale_coords": "rotary_rescale",
    "rope_temperature": "rotary_base",
    "ref_feat_shape": "rotary_grid",
}
# What timm's class has where it is not told; the zoo's defaults are those of DINOv3.
_EVA_DEFAULTS = {
    "registers": 0,
    "positions": True,
    "layer_scale": 0.0,
    "rotary_base": 10000.0,
    "epsilon": 1e-6,
}
_ROTARY = {"cat": "axial", "dinov3": "dinov3", "mixed": "mixed"}


def eva(options: Options, sides: Sides) -> Model:
    """Returns an Eva."""
    options.pop("img_size", None)  # that of the weights counts
    config = {"image_size": side_of(sides), **_EVA_DEFAULTS, **renamed(options, _EVA)}
    config |= epsilon(options)
    if rms := epsilon(options, kind="RmsNorm"):
        config |= {"norm": "rms", **rms}
    config["pooling"] = _POOLING[options.pop("global_pool", "avg")]
    config["fc_norm"] = options.pop("use_fc_norm", config["pooling"] == "average")
    config["class_position"] = not options.pop("no_embed_class", False)
    config["mlp_scale"] = not options.pop("attn_only_layer_scale", False)
    if config.get("post_norm"):
        config["layer_scale"] = 0.0
    kind = _ROTARY[options.pop("rope_type", "cat")] if options.pop("use_rot_pos_emb", False) else None
    if options.pop("rope_rotate_half", False) != (kind == "dinov3"):
        raise UnknownOptionError(f"rotate_half of {kind}")
    config["rotary"] = kind
    config["rotary_order"] = {"ij": "yx", "xy": "xy"}[config.get("rotary_order", "ij")]
    if kind != "axial":
        config["rotary_grid"] = None
    if config.get("rotary_grid"):
        down, across = config["rotary_grid"]
        config["rotary_grid"] = down if down == across else [down, across]
    if shared := options.pop("num_kv_heads", None):
        config["key_value_heads"] = shared[0] if len({*shared}) == 1 else [*shared]
    return Model("eva", _eva_sizes(config, options), _eva_layout(config, options))


def _eva_sizes(config: dict[str, Any], options: Options) -> dict[str, Any]:
    """Returns the keywords with the width of the hidden layer, and without heads that are not shared."""
    hidden = int(config["width"] * options.pop("mlp_ratio", 4))
    align = options.get("swiglu_align_to", 0) or 1
    config["feed_forward"] = hidden + -hidden % align
    if config["feed_forward"] == 4 * config["width"]:
        del config["feed_forward"]
    if config.get("key_value_heads") == config["heads"]:
        del config["key_value_heads"]
    if options.get("attn_pool_num_heads") == 8 and options.get("attn_pool_mlp_ratio") == 4:
        del options["attn_pool_num_heads"], options["attn_pool_mlp_ratio"]
    return config


def _eva_layout(config: dict[str, Any], options: Options) -> str:
    """Returns the layout, and says in the keywords whether keys have a bias."""
    packed = config.get("swiglu") and not (config.get("mlp_norm") or options.get("swiglu_align_to"))
    options.pop("swiglu_align_to", None)
    config["key_bias"] = options.pop("attn_type", "eva") == "rope"
    queries = "_biased_keys" if config["key_bias"] else ""
    if not options.pop("qkv_fused", True):
        queries = "_split"
    return f"timm{queries}{'_packed' if packed else ''}"


_BEIT = {
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "depth",
    "num_heads": "heads",
    "init_values": "layer_scale",
    "use_abs_pos_emb": "positions",
    "use_rel_pos_bias": "relative_bias",
    "use_shared_rel_pos_bias": "shared_relative_bias",
}


def beit(options: Options, sides: Sides) -> Model:
    """Returns a Beit."""
    options.pop("img_size", None)  # that of the weights counts
    config = {"image_size": side_of(sides), **_UNTURNED, **renamed(options, _BEIT)}
    config["pooling"] = _POOLING[options.pop("global_pool", "avg")]
    config["fc_norm"] = options.pop("use_fc_norm", config["pooling"] == "average")
    return Model("eva", _eva_sizes(config, options))


_MIXER = {"patch_size": "patch_size", "embed_dim": "width", "num_blocks": "depth"}


def mixer(options: Options, sides: Sides) -> Model:
    """Returns an MlpMixer."""
    config: dict[str, Any] = {"image_size": side_of(sides), "width": 512, "depth": 8}
    config |= {**renamed(options, _MIXER), **epsilon(options)}
    width, ratio = config["width"], options.pop("mlp_ratio", (0.5, 4.0))
    options.pop("nlhb", None)  # of initial numbers
    if name_of(options.get("block_layer")) == "ResBlock" and name_of(options.get("norm_layer")) == "Affine":
        initial = getattr(options.pop("block_layer"), "keywords", {})
        config |= {"kind": "resmlp", "layer_scale": initial.get("init_values", 1e-4)}
        del options["norm_layer"]
    elif isinstance(ratio, tuple):
        config["token_mlp"] = int(ratio[0] * width)
        ratio = ratio[1]
    else:
        raise UnknownOptionError(f"blocks of another kind, {name_of(options.get('block_layer'))}")
    config["feed_forward"] = int(ratio * width)
    usual = {"token_mlp": width // 2, "feed_forward": 4 * width}
    return Model("mixer", {name: value for name, value in config.items() if value != usual.get(name)})


_SWIN = {"embed_dim": "width", "depths": "depths", "num_heads": "heads", "patch_size": "patch_size"}


def swin(options: Options, sides: Sides) -> Model:
    """Returns a SwinTransformer."""
    if not isinstance(options.get("window_size", 7), int):
        raise UnknownOptionError("windows of other sizes in each stage")
    options.pop("img_size", None)
    config = {"image_size": side_of(sides), **renamed(options, {**_SWIN, "window_size": "window_size"})}
    shape = (config.pop("width"), tuple(config.pop("depths")), tuple(config.pop("heads")))
    same = [name for name, known in zoo.swin.VARIANTS.items() if known[:3] == shape]
    named = {"variant": same[0]} if same else dict(zip(("width", "blocks", "heads"), shape, strict=True))
    return Model("swin", {**named, **config})


def swin_v2(options: Options, sides: Sides) -> Model:
    """Returns a SwinTransformerV2, whose files have no bias of keys."""
    trained = options.pop("pretrained_window_sizes", None)
    found = swin(options, sides)
    config = {"version": 2, **found.config, "key_bias": False}
    return found._replace(config={**config, "trained_window_size": trained} if trained else config)
