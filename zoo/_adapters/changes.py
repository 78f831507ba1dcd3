"""Changes of weights that an adapter's tensors stand for.

LoRA, https://arxiv.org/abs/2106.09685: a matrix W (out, in) becomes W + scale * B A, of A (rank, in) and
B (out, rank). DoRA, https://arxiv.org/abs/2402.09353: each of its rows then gets the length that is trained.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from zoo._adapters.config import AdapterConfig
from zoo._errors import WeightsError

ROOT = re.compile(r"^base_model\.(model\.)?")
FACTOR = re.compile(
    r"(?P<layer>.+)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.default)?(\.(?P<leaf>weight|bias))?"
)
WRAPPER = re.compile(r"\.(base_layer|original_module|modules_to_save(\.default)?)(?=\.)")
PAIRS = {"lora_A": "lora_B", "lora_embedding_A": "lora_embedding_B"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """Low-rank change of one weight.

    Attributes:
        down: (rank, in, ...) matrix A; of an embedding (rank, tokens).
        up: (out, rank, ...) matrix B; of an embedding (width, rank).
        scale: Factor of their product.
        magnitude: Lengths of the weight's rows, as DoRA trains them.
        embedding: If true, the weight is the transposed of a matrix's.
    """

    down: np.ndarray
    up: np.ndarray
    scale: float
    magnitude: np.ndarray | None = None
    embedding: bool = False

    def applied(self, weight: np.ndarray, *, inputs_first: bool) -> np.ndarray:
        """Returns the changed weight, computed in float64 and rounded once.

        Args:
            weight: (out, in), (out, in, *spatial) of a convolution, or (tokens, width) of an embedding.
            inputs_first: If true, the weight is (in, out), as that of GPT-2's layers.

        Raises:
            WeightsError: the matrices are not for a weight of its shape.
        """
        turned = inputs_first or self.embedding
        seen = np.moveaxis(weight, 0, 1) if turned else weight
        rank = self.down.shape[0]
        if self.down.size != rank * seen[0].size or self.up.size != rank * seen.shape[0]:
            raise WeightsError(f"matrices {self.down.shape} and {self.up.shape} for a weight {weight.shape}")
        product = _wide(self.up).reshape(-1, rank) @ _wide(self.down).reshape(rank, -1)
        made = _wide(seen) + self.scale * product.reshape(seen.shape)
        if self.magnitude is not None:
            rows = made.reshape(len(made), -1)
            made = (rows * (_wide(self.magnitude).reshape(-1, 1) / _lengths(rows))).reshape(made.shape)
        changed: np.ndarray = (np.moveaxis(made, 0, 1) if turned else made).astype(weight.dtype)
        return changed


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that an adapter changes, by the names of the base model's tensors.

    Attributes:
        factors: Weight -> its low-rank change.
        added: Bias -> what is added to it.
        whole: Tensor -> the one that takes its place.
    """

    factors: Mapping[str, Change] = field(default_factory=dict)
    added: Mapping[str, np.ndarray] = field(default_factory=dict)
    whole: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that change."""
        return (*self.factors, *self.added, *self.whole)


def changes(name: str, config: AdapterConfig, tensors: Mapping[str, np.ndarray]) -> Changes:
    """Reads an adapter's tensors.

    Raises:
        WeightsError: matrices without their other half, of another rank, or tensors of another kind.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    whole: dict[str, np.ndarray] = {}
    for key in tensors:
        plain = ROOT.sub("", key)
        match = FACTOR.fullmatch(plain)
        if match:
            kind = match["kind"] + (".bias" if match["leaf"] == "bias" else "")
            parts.setdefault(match["layer"], {})[kind] = tensors[key]
        else:
            whole[WRAPPER.sub("", plain)] = tensors[key]
    problems = [problem for layer, found in parts.items() if (problem := _problem(layer, found, config))]
    problems += [
        f"{each}: no tensor of LoRA" for each in whole if re.search(r"(^|\.)(lora|ia3|token_adapter)", each)
    ]
    if problems or not tensors:
        lines = "".join(f"\n  {problem}" for problem in problems) or " no tensors"
        raise WeightsError(f"{name!r} is no whole adapter:{lines}")
    return Changes(
        factors={f"{layer}.weight": _change(layer, found, config) for layer, found in parts.items()},
        added={
            f"{layer}.bias": config.scale_of(layer) * _wide(found["lora_B.bias"])
            for layer, found in parts.items()
            if "lora_B.bias" in found
        },
        whole=whole,
    )


def _problem(layer: str, found: Mapping[str, np.ndarray], config: AdapterConfig) -> str:
    """Returns what is wrong with the tensors of a layer; empty if nothing is."""
    down = next((kind for kind in PAIRS if kind in found), None)
    allowed = {down, PAIRS[down], "lora_magnitude_vector", "lora_B.bias"} if down else set()
    if down is None or PAIRS[down] not in found or not found.keys() <= allowed:
        return f"{layer}: {', '.join(found)}; expected a matrix A and a matrix B"
    ranks, said = (found[down].shape[0], found[PAIRS[down]].shape[1]), config.rank_of(layer)
    if ranks != (said, said):
        return f"{layer}: matrices of the ranks {ranks[0]} and {ranks[1]}; its config says {said}"
    return ""


def _change(layer: str, found: Mapping[str, np.ndarray], config: AdapterConfig) -> Change:
    down = next(kind for kind in PAIRS if kind in found)
    return Change(
        down=found[down],
        up=found[PAIRS[down]],
        scale=config.scale_of(layer),
        magnitude=found.get("lora_magnitude_vector"),
        embedding=down == "lora_embedding_A",
    )


def _wide(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).astype(np.float64)


def _lengths(rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, axis=1, keepdims=True)
    return lengths
