"""Rotary positions as a config.json describes them, stretched for texts longer than those of the training.

The names of kinds and options are transformers', as `rope_parameters` has them. Formulas:
Peng et al., https://arxiv.org/abs/2309.00071 (linear, dynamic, yarn); Ding et al.,
https://arxiv.org/abs/2402.13753 (longrope); the Llama team, https://arxiv.org/abs/2407.21783 (llama3).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from zoo._errors import ZooError

TRAINED = "original_max_position_embeddings"  # longest text of the training, in tokens
BY_LENGTH = ("dynamic", "longrope")  # kinds whose frequencies depend on how long a text is
_GENERAL = ("rope_type", "type", "rope_theta", "partial_rotary_factor", TRAINED)


class Rope(NamedTuple):
    """Frequencies by which queries and keys turn from one position to the next.

    Attributes:
        kind: Key of KINDS.
        theta: Base of the frequencies.
        fraction: Part of a head's numbers that turn, the first ones.
        options: The kind's own numbers, by name and in order.
    """

    kind: str
    theta: float
    fraction: float
    options: tuple[tuple[str, Any], ...]

    @property
    def trained(self) -> int:
        """The longest text of the training, in tokens, of a kind in BY_LENGTH."""
        return int(dict(self.options)[TRAINED])

    def waves(
        self, positions: jax.Array, length: jax.Array | int, head_dim: int, dtype: DTypeLike
    ) -> "Waves":
        """Returns what turns queries and keys.

        Args:
            positions: (batch, length)
            length: Number of tokens, by which some kinds choose frequencies; broadcasts to (batch, 1).
            head_dim: Size of a head.
            dtype: Dtype of the model; angles are in float32 at least, as in transformers.
        """
        wide, options = jnp.promote_types(dtype, jnp.float32), dict(self.options)
        size = int(head_dim * self.fraction)
        count = (size + 1) // 2
        if self.kind == "dynamic":
            grown = jnp.maximum(jnp.asarray(length)[..., None], self.trained).astype(wide) / self.trained
            stretch = (options["factor"] * grown - (options["factor"] - 1)) ** (size / (size - 2))
            turning = (self.theta * stretch) ** -(2 * jnp.arange(count, dtype=wide) / size)
        elif self.kind == "longrope":
            plain = _falling(self.theta, size)
            short, long = (plain / np.asarray(options[f"{each}_factor"]) for each in ("short", "long"))
            turning = jnp.where(jnp.asarray(length)[..., None] > self.trained, long, short).astype(wide)
        else:
            turning = jnp.asarray(KINDS[self.kind].change(_falling(self.theta, size), self), wide)
        angles = (positions.astype(wide)[..., None] * turning)[:, :, None]
        factor = KINDS[self.kind].factor(options)
        return Waves(jnp.cos(angles) * factor, jnp.sin(angles) * factor)


class Waves(NamedTuple):
    """Cosines and sines of the angles, (batch, length, 1, pairs): the same for all heads."""

    cos: jax.Array
    sin: jax.Array


class Kind(NamedTuple):
    """A way to stretch positions.

    Attributes:
        needs: Names of options that it must have.
        takes: Names of those that it may have.
        change: (frequencies, rope) -> the frequencies; those in BY_LENGTH have their own way.
        factor: Options -> factor of the cosines and sines.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    change: Callable[[np.ndarray, Rope], np.ndarray] = lambda plain, rope: plain
    factor: Callable[[Mapping[str, Any]], float] = lambda options: 1.0


def _falling(theta: float, size: int) -> np.ndarray:
    falling: np.ndarray = theta ** -(np.arange(0, size, 2) / size)
    return falling


def _linear(plain: np.ndarray, rope: Rope) -> np.ndarray:
    slowed: np.ndarray = plain / dict(rope.options)["factor"]
    return slowed


def _llama3(plain: np.ndarray, rope: Rope) -> np.ndarray:
    """Slows the waves longer than the training's texts, and some of the others in part."""
    options = dict(rope.options)
    low, high = options["low_freq_factor"], options["high_freq_factor"]
    kept = np.clip((options[TRAINED] * plain / (2 * math.pi) - low) / (high - low), 0, 1)
    slowed: np.ndarray = (1 - kept) * plain / options["factor"] + kept * plain
    return slowed


def _yarn(plain: np.ndarray, rope: Rope) -> np.ndarray:
    """Slows frequencies by how often they turn within a text of the training: section 3.2."""
    options, size = dict(rope.options), 2 * len(plain)

    def place(turns: float) -> float:
        return size * math.log(options[TRAINED] / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = place(options.get("beta_fast", 32)), place(options.get("beta_slow", 1))
    if options.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    part = np.clip((np.arange(len(plain)) - low) / ((high - low) or 0.001), 0, 1)
    slowed: np.ndarray = plain / options["factor"] * part + plain * (1 - part)
    return slowed


def _yarn_factor(options: Mapping[str, Any]) -> float:
    def grown(scale: float) -> float:
        return 0.1 * scale * math.log(options["factor"]) + 1 if options["factor"] > 1 else 1.0

    if "attention_factor" in options:
        return float(options["attention_factor"])
    if options.get("mscale") and options.get("mscale_all_dim"):
        return grown(options["mscale"]) / grown(options["mscale_all_dim"])
    return grown(1)


def _long_factor(options: Mapping[str, Any]) -> float:
    if "attention_factor" in options:
        return float(options["attention_factor"])
    factor = options["factor"]
    return math.sqrt(1 + math.log(factor) / math.log(options[TRAINED])) if factor > 1 else 1.0


KINDS = {
    "default": Kind(),
    "linear": Kind(("factor",), change=_linear),
    "dynamic": Kind(("factor", TRAINED)),
    "llama3": Kind(("factor", "low_freq_factor", "high_freq_factor", TRAINED), change=_llama3),
    "yarn": Kind(
        ("factor", TRAINED),
        ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
        change=_yarn,
        factor=_yarn_factor,
    ),
    "longrope": Kind(
        ("short_factor", "long_factor", "factor", TRAINED), ("attention_factor",), factor=_long_factor
    ),
}


def parsed(said: Mapping[str, Any] | None, theta: float = 10000.0) -> Rope:
    """Reads rotary positions off what `rope_parameters` says.

    Args:
        said: Options by transformers' names: rope_type, one of KINDS; rope_theta; partial_rotary_factor; and
            those of the kind.
        theta: Base of the frequencies where nothing is said.

    Raises:
        ZooError: no such kind, or one whose options are others.
    """
    options = {name: value for name, value in (said or {}).items() if value is not None}
    kind = options.get("rope_type", options.get("type", "default"))
    if kind not in KINDS:
        raise ZooError(f"rotary positions of the type {kind!r}; the zoo has {', '.join(KINDS)}.")
    found = KINDS[kind]
    lacking = [name for name in found.needs if name not in options]
    unknown = [name for name in options if name not in (*_GENERAL, *found.needs, *found.takes)]
    if lacking or unknown:
        raise ZooError(
            f"rotary positions of the type {kind!r} "
            + " and ".join(
                [f"lack {', '.join(lacking)}"] * bool(lacking)
                + [f"have {', '.join(unknown)}"] * bool(unknown)
            )
            + f"; expected {', '.join(found.needs) or 'no options'}"
            + (f", and perhaps {', '.join(found.takes)}." if found.takes else ".")
        )
    for name, value in options.items():
        if name not in ("rope_type", "type") and not _is_number(value):
            raise ZooError(f"rotary positions with {name}={value!r}; expected a number, or several.")
    return Rope(
        kind=kind,
        theta=float(options.get("rope_theta", theta)),
        fraction=float(options.get("partial_rotary_factor", 1)),
        options=tuple(
            (name, _frozen(options[name])) for name in sorted((*found.needs, *found.takes)) if name in options
        ),
    )


def _is_number(value: Any) -> bool:
    return all(
        isinstance(each, int | float) for each in (value if isinstance(value, list | tuple) else [value])
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
