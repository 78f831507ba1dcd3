"""The adapter_config.json that PEFT writes beside an adapter: https://huggingface.co/docs/peft."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo._errors import ManifestError

KIND = "LORA"
ELSEWHERE = "merge it where it was trained, by PEFT's model.merge_and_unload(), and save the model that gives"
# Ways to begin that leave the base model's weights as they are; others train on changed ones.
INITIAL = (None, True, False, "gaussian", "orthogonal", "eva")
# Attributes by which an adapter is more than low-rank matrices.
LACKING = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Attributes that change nothing once an adapter is trained, or that its tensors say themselves.
IRRELEVANT = (
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",  # the layer's type says it
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_dora",
)
READ = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "init_lora_weights")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Ranks and scales of an adapter's matrices.

    Attributes:
        rank: Rank of the matrices.
        alpha: Scale of their product, times the rank.
        ranks: Pattern for the end of a layer's name -> another rank.
        alphas: The same for `alpha`.
        rank_stabilized: If true, the scale is divided by the square root of the rank:
            https://arxiv.org/abs/2312.03732.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rank_stabilized: bool

    def rank_of(self, layer: str) -> int:
        """Returns the rank of the matrices of a layer."""
        rank: int = _of_pattern(self.ranks, layer, self.rank)
        return rank

    def scale_of(self, layer: str) -> float:
        """Returns the factor of their product."""
        rank = self.rank_of(layer)
        alpha: float = _of_pattern(self.alphas, layer, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def read(name: str, options: Mapping[str, Any]) -> AdapterConfig:
    """Reads the attributes of an adapter_config.json.

    Raises:
        ManifestError: it is of another kind of adapter than the zoo has; all reasons are listed.
    """
    kind = options.get("peft_type")
    if kind != KIND:
        raise ManifestError(
            f"{name!r} is an adapter of the type {kind!r}; the zoo has {KIND!r}: {ELSEWHERE}."
        )
    problems = [
        f"{key}: {value!r}"
        for key, value in options.items()
        if value not in (None, False, [], {})
        and (key in LACKING or key not in (*IRRELEVANT, *READ, *LACKING))
    ]
    begin = options.get("init_lora_weights")
    if begin not in INITIAL:
        problems.append(f"init_lora_weights: {begin!r}, which changes the base model's weights, too")
    ranks, alphas = options.get("rank_pattern") or {}, options.get("alpha_pattern") or {}
    rank, alpha = options.get("r", 8), options.get("lora_alpha", 8)
    numbers = {
        "r": rank,
        "lora_alpha": alpha,
        **_patterns("rank_pattern", ranks),
        **_patterns("alpha_pattern", alphas),
    }
    for key, value in numbers.items():
        whole = key.startswith("r")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
            problems.append(f"{key}: {value!r}; expected a {'whole ' if whole else ''}number above 0")
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ManifestError(f"{name!r} is an adapter that the zoo cannot merge; {ELSEWHERE}:{lines}")
    return AdapterConfig(
        rank=rank,
        alpha=alpha,
        ranks=ranks,
        alphas=alphas,
        rank_stabilized=bool(options.get("use_rslora")),
    )


def _patterns(name: str, patterns: Any) -> dict[str, Any]:
    if not isinstance(patterns, dict):
        return {name: patterns}
    return {f"{name}: {pattern}": value for pattern, value in patterns.items()}


def _of_pattern(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """Returns the value of the first pattern that a layer's name ends with."""
    found = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer))
    return next(found, default)
