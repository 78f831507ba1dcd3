"""Recipes of the bundled models' training, as data."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import wraps
from numbers import Integral, Real
from typing import Any, get_type_hints

from zoo._errors import TrainingError
from zoo._registry import manifest
from zoo._registry.schema import suggest

DTYPES = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "sgd")
DECAYS = ("constant", "linear", "cosine")
# Names of fields in version 0.1, which settings, constructors and the records of runs may still have.
RENAMED = {"average": "ema_decay", "micro_batches": "accumulate_steps"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run; with model and data they determine its result.

    Attributes:
        task: Task to learn, a key of `tasks.TASKS`.
        dataset: A key of `zoo.training.DATASETS`.
        epochs: Passes over the data; an incomplete last batch of a pass is dropped.
        batch_size: Examples per update.
        dtype: Compute dtype of an update, "float32" or "bfloat16"; params, measures and evaluation keep
            theirs.
        accumulate_steps: Parts of a batch whose gradients are computed one after another, for less memory.
        optimizer: "adamw", or "sgd" with Nesterov's momentum of 0.9.
        learning_rate: Peak learning rate.
        warmup_steps: Updates of the linear warmup from zero to the peak.
        decay: Schedule from the peak to zero at the last update, or "constant".
        weight_decay: Decoupled weight decay; at an update, scaled by the learning rate.
        backbone_rate: Learning rate of all but the head, as a share of the head's; with 0 it is frozen, and
            batch norms and dropout are as in evaluation. Needs a family with a head.
        lora_rank: Rank of the matrices that finetuning trains beside the kernels of all dense layers but the
            head's, which are frozen then, as with a `backbone_rate` of 0; 0 trains the kernels themselves.
        lora_alpha: Scale of the matrices' product, times the rank; 0 takes twice the rank.
        clip_norm: Largest global norm of the gradients; 0 does not clip.
        ema_decay: Decay of the exponential moving average of the params; 0 keeps no average.
        shift: Largest random shift of training images in each direction, in pixels.
        flip: Probability of mirroring a training image, left to right.
        label_smoothing: Probability that is spread evenly over all classes.
        temperature: Divisor of the trained model's logits, in its head; other than 1 after smoothed
            labels, whose probabilities are too small.
        kl_weight: Weight of a VAE's KL divergence in its loss.
        train_kl_weight: The same in training only, for latents closer to those that are drawn; 0 takes
            kl_weight.
        validation: Number of training examples, the last ones, held out to choose the best epoch; 0 takes the
            last epoch.
        validation_share: Share of each class that finetuning holds out for that, of data without a `val`.
        patience: Epochs without improvement after which a run stops; 0 never stops early.
        keep: Number of checkpoints that stay when the run has ended, and the best one, so that it can go on
            from there; with 0 none stays.
        seed: Seed of the initial params, the order of the examples and all other draws.
    """

    task: str
    dataset: str
    epochs: int
    batch_size: int
    dtype: str = "float32"
    accumulate_steps: int = 1
    optimizer: str = "adamw"
    learning_rate: float
    warmup_steps: int = 0
    decay: str = "constant"
    weight_decay: float = 1e-4
    backbone_rate: float = 1.0
    lora_rank: int = 0
    lora_alpha: float = 0.0
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    shift: int = 0
    flip: float = 0.0
    label_smoothing: float = 0.0
    temperature: float = 1.0
    kl_weight: float = 0.5
    train_kl_weight: float = 0.0
    validation: int = 0
    validation_share: float = 0.0
    patience: int = 0
    keep: int = 0
    seed: int = 0

    @property
    def frozen(self) -> bool:
        """Returns whether all but the head, and matrices of LoRA, stays as it is."""
        return self.backbone_rate == 0 or self.lora_rank > 0

    @property
    def lora_scale(self) -> float:
        """Returns the factor of the product of LoRA's matrices; 0 without any."""
        return (self.lora_alpha or 2 * self.lora_rank) / self.lora_rank if self.lora_rank else 0.0

    @property
    def average(self) -> float:
        """Returns `ema_decay`, by its former name."""
        return self.ema_decay

    @property
    def micro_batches(self) -> int:
        """Returns `accumulate_steps`, by its former name."""
        return self.accumulate_steps

    def __post_init__(self) -> None:
        problems = [
            f"\n  {field} is {getattr(self, field)!r}; expected {expected}"
            for field, expected, holds in _RULES
            if not (self._is_of_its_type(field) and holds(self))
        ]
        if problems:
            raise TrainingError(f"no such training:{''.join(problems)}")

    def _is_of_its_type(self, field: str) -> bool:
        return isinstance(getattr(self, field), _TYPES[field])


DEFAULTS = {each.name: each.default for each in fields(Recipe) if each.default is not MISSING}


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe's fields by their names of today; a former name wins, as only a caller gives one."""
    today = {name: value for name, value in values.items() if name not in RENAMED}
    return today | {RENAMED[name]: value for name, value in values.items() if name in RENAMED}


def _taking_former_names(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def __init__(self: Recipe, **fields: Any) -> None:  # noqa: N807
        init(self, **renamed(fields))

    return __init__


# Wrapped: fields of the former names would be in every recipe, and InitVar breaks dataclasses.replace.
Recipe.__init__ = _taking_former_names(Recipe.__init__)  # type: ignore[method-assign]

# NumPy's numbers, too.
_TYPES = {name: {int: Integral, float: Real}.get(kind, kind) for name, kind in get_type_hints(Recipe).items()}
_RULES: tuple[tuple[str, str, Callable[[Recipe], bool]], ...] = (
    ("epochs", "at least 1", lambda r: r.epochs >= 1),
    ("batch_size", "at least 1", lambda r: r.batch_size >= 1),
    ("dtype", f"one of {', '.join(DTYPES)}", lambda r: r.dtype in DTYPES),
    (
        "accumulate_steps",
        "a divisor of batch_size",
        lambda r: r.accumulate_steps >= 1 and r.batch_size % r.accumulate_steps == 0,
    ),
    ("optimizer", f"one of {', '.join(OPTIMIZERS)}", lambda r: r.optimizer in OPTIMIZERS),
    ("learning_rate", "more than 0", lambda r: 0 < r.learning_rate < float("inf")),
    ("warmup_steps", "at least 0", lambda r: r.warmup_steps >= 0),
    ("decay", f"one of {', '.join(DECAYS)}", lambda r: r.decay in DECAYS),
    ("weight_decay", "at least 0", lambda r: 0 <= r.weight_decay < float("inf")),
    ("backbone_rate", "at least 0", lambda r: 0 <= r.backbone_rate < float("inf")),
    ("lora_rank", "at least 0", lambda r: r.lora_rank >= 0),
    ("lora_alpha", "at least 0", lambda r: 0 <= r.lora_alpha < float("inf")),
    ("clip_norm", "at least 0", lambda r: 0 <= r.clip_norm < float("inf")),
    ("ema_decay", "at least 0 and less than 1", lambda r: 0 <= r.ema_decay < 1),
    ("shift", "at least 0", lambda r: r.shift >= 0),
    ("flip", "at least 0 and at most 1", lambda r: 0 <= r.flip <= 1),
    ("label_smoothing", "at least 0 and less than 1", lambda r: 0 <= r.label_smoothing < 1),
    ("temperature", "more than 0", lambda r: 0 < r.temperature < float("inf")),
    ("kl_weight", "at least 0", lambda r: 0 <= r.kl_weight < float("inf")),
    ("train_kl_weight", "at least 0", lambda r: 0 <= r.train_kl_weight < float("inf")),
    ("validation", "at least 0", lambda r: r.validation >= 0),
    ("validation_share", "at least 0 and less than 1", lambda r: 0 <= r.validation_share < 1),
    ("patience", "at least 0", lambda r: r.patience >= 0),
    ("keep", "at least 0", lambda r: r.keep >= 0),
    ("seed", "at least 0, below 2^32", lambda r: 0 <= r.seed < 2**32),
)

# The paper's section 4.2, but for the shorter schedule with a cosine.
CIFAR10 = Recipe(
    task="classification",
    dataset="cifar10",
    epochs=70,
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.1,
    warmup_steps=780,
    decay="cosine",
    weight_decay=5e-4,
    shift=4,
    flip=0.5,
)

RECIPES = {
    "mlp_mnist": Recipe(
        task="classification",
        dataset="mnist",
        epochs=60,
        batch_size=128,
        learning_rate=3e-3,
        warmup_steps=500,
        decay="cosine",
        weight_decay=1e-2,
        ema_decay=0.999,
        shift=1,
    ),
    "cnn_mnist": Recipe(
        task="classification",
        dataset="mnist",
        epochs=15,
        batch_size=128,
        learning_rate=2e-3,
        warmup_steps=500,
        decay="cosine",
        weight_decay=1e-2,
        clip_norm=1.0,
        ema_decay=0.999,
        shift=2,
        label_smoothing=0.05,
        # benchmarks/real/calibration.py: 0.510 for 5,000 held-out digits; a power of two divides exactly.
        temperature=0.5,
    ),
    "vae_mnist": Recipe(
        task="vae",
        dataset="mnist",
        epochs=100,
        batch_size=128,
        learning_rate=1e-3,
        warmup_steps=500,
        decay="cosine",
        weight_decay=1e-2,
        clip_norm=100.0,
        ema_decay=0.999,
        train_kl_weight=0.6,
    ),
    "gpt_shakespeare": Recipe(
        task="next_token",
        dataset="tiny_shakespeare",
        epochs=3,
        batch_size=64,
        learning_rate=3e-3,
        warmup_steps=100,
        decay="cosine",
        weight_decay=0.1,
        clip_norm=1.0,
    ),
    **{f"resnet{depth}_cifar10": CIFAR10 for depth in (20, 32, 44, 56, 110, 1202)},
}

# By what is to be told apart.
FINETUNING = {
    "pictures": Recipe(
        task="classification",
        dataset="pictures",
        epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        warmup_steps=20,
        decay="cosine",
        weight_decay=1e-2,
        backbone_rate=0.1,
        clip_norm=1.0,
        flip=0.5,
        label_smoothing=0.1,
        validation_share=0.2,
        patience=5,
    ),
    "texts": Recipe(
        task="text_classification",
        dataset="texts",
        epochs=4,
        batch_size=16,
        learning_rate=5e-4,
        warmup_steps=20,
        decay="linear",
        weight_decay=1e-2,
        backbone_rate=0.1,
        clip_norm=1.0,
        validation_share=0.2,
        patience=2,
    ),
}
FITTED = ("batch_size", "epochs", "patience", "warmup_steps")  # their fields that few examples change
# A digit that is mirrored is none.
FINETUNING["digits"] = replace(FINETUNING["pictures"], flip=0.0)


def find_recipe(name: str) -> Recipe:
    """Returns the recipe of a manifest name.

    Raises:
        TrainingError: there is none.
    """
    if name not in RECIPES:
        # A model that there is was not misspelt.
        near = "" if name in manifest.read().models else suggest(name, RECIPES)
        raise TrainingError(f"no recipe trains {name!r}{near or f'; there are {listed_recipes()}.'}")
    return RECIPES[name]


def listed_recipes() -> str:
    """Returns the names that have recipes, for a sentence."""
    return ", ".join(RECIPES)


def recipe_of(source: str | None) -> Recipe | None:
    """Returns the recipe that an entry's `source` names, as `zoo train NAME`; None if another made it."""
    return next((recipe for name, recipe in RECIPES.items() if source == f"zoo train {name}"), None)
