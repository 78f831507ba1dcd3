"""Rotary positions in config.json files of several ages."""

from collections.abc import Mapping
from typing import Any

from zoo._nn.rope import TRAINED


def with_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes with rotary positions as `rope_parameters` says them in transformers 5.

    Older files have `rope_theta` and `rope_scaling`.
    """
    moved = ("rope_theta", "rope_scaling", "partial_rotary_factor", "original_max_position_embeddings")
    found = {name: value for name, value in config.items() if name not in moved}
    rope = {**(config.get("rope_scaling") or config.get("rope_parameters") or {})}
    for name in ("rope_theta", "partial_rotary_factor"):
        if config.get(name) is not None and rope.get(name) is None:
            rope[name] = config[name]
    if config.get(TRAINED) is not None and rope.get("rope_type", "default") != "default":
        rope[TRAINED] = config[TRAINED]
    rope = completed(rope, config["max_position_embeddings"])
    return found | ({"rope_parameters": rope} if rope else {})


def completed(rope: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Returns rotary positions with what transformers takes from the model's length where they lack it."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("llama3", "yarn", "longrope"):
        rope = {TRAINED: length, **rope}
    elif kind == "dynamic":  # transformers looks at no other length here
        rope = {**rope, TRAINED: length}
    if kind in ("yarn", "longrope") and rope.get("factor") is None:
        rope = {**rope, "factor": length / rope[TRAINED]}
    return dict(rope)
