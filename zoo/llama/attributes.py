"""What config.json files of several ages say of Llama's relatives, as transformers 5 says it."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo._nn.rope_attributes import completed, with_rope


def layer_types(wide: Sequence[bool]) -> list[str]:
    """Returns the types of layers of which these have no window."""
    return ["full_attention" if each else "sliding_attention" for each in wide]


def as_qwen(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with a window, and the type of each layer, where Qwen's files let some slide."""
    found = with_rope(config)
    slides, beginning = found.pop("use_sliding_window"), found.pop("max_window_layers")
    depth = found.get("num_hidden_layers", 0)
    types = found.get("layer_types") or layer_types([layer < beginning for layer in range(depth)])
    if not slides or "sliding_attention" not in types:
        return found | {"sliding_window": None, "layer_types": None}
    return found | {"layer_types": types}


def with_switch(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with the one that lets Qwen's layers slide."""
    return {**config, "use_sliding_window": config.get("sliding_window") is not None}


def as_mixture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Qwen's mixtures with all blocks without experts in a list."""
    found = with_rope(config)
    every, depth = found.pop("decoder_sparse_step"), found["num_hidden_layers"]
    plain = {*(found.get("mlp_only_layers") or [])}
    plain |= {layer for layer in range(depth) if (layer + 1) % every}
    return found | {"mlp_only_layers": sorted(plain & {*range(depth)})}


def as_qwen3_moe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Qwen 3's mixtures, in which all blocks slide or none does."""
    found = as_mixture(config)
    slides = found.pop("use_sliding_window")
    del found["max_window_layers"]  # which transformers does not read here
    return found | ({} if slides else {"sliding_window": None})


def as_qwen2_moe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Qwen 2's mixtures, of which every second block slides, up to a last one."""
    found = as_mixture(config)
    slides, last = found.pop("use_sliding_window"), found.pop("max_window_layers")
    depth = found["num_hidden_layers"]
    types = found.get("layer_types") or layer_types(
        [layer % 2 == 1 or layer >= last for layer in range(depth)]
    )
    if not slides or "sliding_attention" not in types:
        return found | {"sliding_window": None, "layer_types": None}
    return found | {"layer_types": types}


def as_gemma(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma with its activation, which files of its first days call GELU."""
    found = {name: value for name, value in config.items() if name != "hidden_activation"}
    found |= {"hidden_act": "gelu_pytorch_tanh"} if found["hidden_act"] == "gelu" else {}
    return with_rope(found)


def as_gemma2(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma 2, of which every second layer has a window."""
    return with_rope(typed(config, 2))


def typed(config: Mapping[str, Any], every: int) -> dict[str, Any]:
    """Returns the attributes with the type of each layer, where one of so many has no window."""
    found = {
        name: value for name, value in config.items() if name not in ("hidden_act", "cache_implementation")
    }
    types = [
        "sliding_attention" if (layer + 1) % every else "full_attention"
        for layer in range(found["num_hidden_layers"])
    ]
    types = found.get("layer_types") or types
    window = found["sliding_window"] if "sliding_attention" in types else None
    return found | {"layer_types": types, "sliding_window": window}


def as_gemma3(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Gemma 3, with rotary positions for each type of layer."""
    every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    found = typed(config, every)
    said, scaling = found.get("rope_parameters") or {}, found.pop("rope_scaling", None) or {}
    bases = {
        "full_attention": found.pop("rope_theta", 1000000.0),
        "sliding_attention": found.pop("rope_local_base_freq", 10000.0),
    }
    ropes = {kind: {"rope_theta": base} | (said.get(kind) or {}) for kind, base in bases.items()}
    ropes["full_attention"] |= scaling
    length = found["max_position_embeddings"]
    others = {name: value for name, value in found.items() if "sliding_window_pattern" not in name}
    return others | {"rope_parameters": {kind: completed(rope, length) for kind, rope in ropes.items()}}


def as_phi3(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of Phi-3, whose long texts have had several names."""
    rope = {**(config.get("rope_scaling") or config.get("rope_parameters") or {})}
    kind = rope.pop("type", "default")
    kind = rope.get("rope_type", kind)
    rope["rope_type"] = "longrope" if kind in ("su", "yarn") else kind
    found = {name: value for name, value in config.items() if name not in ("rope_scaling", "rope_parameters")}
    return with_rope(found | {"rope_parameters": rope})
