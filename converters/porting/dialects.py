"""All that differs between what is written for linen and for NNX."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One of Flax's two ways to write a module.

    Everything is written with linen's names; these are what is written in their place.

    Attributes:
        name: As a user chooses it.
        package: Name of the package in a file.
        statement: The line that imports it.
        layers: Names of its layers, by linen's, where they differ.
        inputs: Layers that are told how many features they read, by linen's names, with the keyword that says
            it; "" where it is the first argument. None where layers find out when they run.
        unlike: Layers that it does not compute as PyTorch does, by linen's names, which are written out.
        declares: If true, layers are made in `__init__`, and know whether they are in training.
    """

    name: str
    package: str
    statement: str
    layers: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    unlike: frozenset[str] = frozenset()
    declares: bool = False


LINEN = Dialect(name="linen", package="nn", statement="import flax.linen as nn")
NNX = Dialect(
    name="nnx",
    package="nnx",
    statement="from flax import nnx",
    layers={
        "nn.Dense": "nnx.Linear",
        "nn.MultiHeadDotProductAttention": "nnx.MultiHeadAttention",
        "nn.GRUCell": "GRUCell",  # of the file: NNX's has no bias of the hidden state
    },
    inputs={
        **dict.fromkeys(("nn.Dense", "nn.Conv", "nn.ConvTranspose", "BatchNorm", "Recurrent"), ""),
        **dict.fromkeys(("nn.LayerNorm", "nn.GroupNorm", "nn.InstanceNorm", "nn.RMSNorm"), ""),
        **dict.fromkeys(("nn.OptimizedLSTMCell", "nn.SimpleCell", "nn.GRUCell"), ""),
        "nn.MultiHeadDotProductAttention": "in_features",
    },
    unlike=frozenset({"nn.GRUCell"}),  # without a bias of the hidden state
    declares=True,
)
DIALECTS = {each.name: each for each in (LINEN, NNX)}
