"""Groups the tensors of a file, or of a module, into layers, and takes their names apart."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from converters.layers import Shape

# Other words for the names that torch's layers give to their tensors.
SYNONYMS = {
    "weight": ("gamma", "scale", "kernel", "w", "g", "embedding", "a_2"),
    "bias": ("beta", "b", "offset", "shift", "b_2"),
    "running_mean": ("mean", "moving_mean"),
    "running_var": ("var", "moving_var", "moving_variance"),
}
LEAVES = {word: leaf for leaf, words in SYNONYMS.items() for word in (leaf, *words)}
# Short forms in names of layers.
ABBREVIATIONS = {
    "attention": ("attn", "att"),
    "decoder": ("dec",),
    "embedding": ("emb", "embed", "embeddings", "embeds"),
    "encoder": ("enc",),
    "key": ("k",),
    "norm": ("bn", "ln", "gn", "layernorm", "batchnorm", "groupnorm", "normalization"),
    "position": ("pos", "positional", "positions"),
    "projection": ("proj",),
    "query": ("q",),
    "token": ("tok", "tokens"),
    "value": ("v",),
}
WORDS = {short: word for word, found in ABBREVIATIONS.items() for short in found}
# torch.nn.MultiheadAttention's and LSTMCell's.
PACKED = re.compile(r"(in|[qkv])_proj_(weight|bias)|(weight|bias)_(ih|hh)|bias_[kv]")
RECURRENT = re.compile(r"((?:weight|bias)_(?:ih|hh|hr))(_l\d+(?:_reverse)?)")
# Factors of a weight: one of them alone, under another name, is a wrong weight.
FACTOR = re.compile(r"\w+_(g|v|u|orig|mask)|original\d*|lora_\w+|base_layer")
PARAMETRIZED = ("parametrizations", "lora_A", "lora_B", "base_layer")
AUTOMATIC = re.compile(r"([A-Z][A-Za-z0-9]*)_\d+")  # a name that Flax gives in compact modules
INDEX = re.compile(r"(?<![^.])\d+(?![^.])")  # of a list: a part of the name that is a number
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")


@dataclass(frozen=True)
class Layer:
    """Tensors that one layer keeps.

    Attributes:
        name: Path of the layer, dotted.
        leaves: Names of the tensors below the path, and their shapes.
        part: Suffix of one layer of a recurrent stack, such as "_l1", or the name of a parameter that a
            module itself owns; else empty.
    """

    name: str
    leaves: tuple[tuple[str, Shape], ...]
    part: str = ""

    @property
    def full(self) -> str:
        """The name that stands for the layer in messages."""
        return self.name + self.part if self.part.startswith("_l") else joined(self.name, self.part)

    @property
    def tensors(self) -> list[str]:
        return [joined(self.name, leaf) for leaf, _ in self.leaves]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(sorted(shape for _, shape in self.leaves))

    @cached_property
    def signature(self) -> tuple[tuple[str, Shape], ...]:
        """Equal for layers that shapes do not tell apart; factors of a weight are equal by name only."""
        inside = any(part in PARAMETRIZED for part in self.name.split("."))
        named = ((leaf if inside or FACTOR.fullmatch(leaf) else "", shape) for leaf, shape in self.leaves)
        return tuple(sorted(named))

    @cached_property
    def stack(self) -> str:
        """The name of all layers that differ in their indices only.

        A compact module has no lists: there the first number is the index, of `Block_0.LayerNorm_1` the 0.
        """
        if INDEX.search(self.full):
            return INDEX.sub("*", self.full)
        return re.sub(r"\d+", "*", self.full, count=1)

    @cached_property
    def indices(self) -> list[str]:
        return INDEX.findall(self.full) or re.findall(r"\d+", self.full)[:1]

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Numbers of the lists that the layer is in."""
        return tuple(INDEX.findall(self.full))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Numbers that somebody chose: not those by which Flax tells the layers of compact modules apart."""
        parts = (part for part in self.full.split(".") if not AUTOMATIC.fullmatch(part))
        return tuple(number for part in parts for number in re.findall(r"\d+", part))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words of the name in lower case, without the type that a compact module's layer is named for."""
        parts = self.full.split(".")
        if AUTOMATIC.fullmatch(parts[-1]) and not self.part:
            parts.pop()
        words = (word.lower() for part in parts for word in WORD.findall(part))
        return tuple(WORDS.get(word, word) for word in words)

    @cached_property
    def containers(self) -> tuple[str, ...]:
        """Names of the modules around the layer, the innermost first."""
        path = self.name if self.part else self.name.rpartition(".")[0]
        found = []
        while path:
            found.append(path)
            path = path.rpartition(".")[0]
        return tuple(found)


def joined(layer: str, leaf: str) -> str:
    """Returns the name of a tensor."""
    return f"{layer}.{leaf}" if layer and leaf else layer + leaf


def layers(shapes: Mapping[str, Shape]) -> list[Layer]:
    """Returns the layers that tensors of these names belong to, in the order of their first tensors.

    Each parameter that a module itself owns is a layer of its own: files keep them apart as they please.
    """
    found: dict[tuple[str, str], list[tuple[str, Shape]]] = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        recurrent = RECURRENT.fullmatch(leaf)
        known = leaf in LEAVES or PACKED.fullmatch(leaf) or FACTOR.fullmatch(leaf)
        part = recurrent[2] if recurrent else "" if known else leaf
        found.setdefault((layer, part), []).append((leaf, shape))
    return [Layer(name, tuple(leaves), part) for (name, part), leaves in found.items()]


def natural(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts names with their numbers as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def template(name: str) -> str:
    """Returns the name with a star for each number."""
    return re.sub(r"\d+", "*", name)


def same_leaves(one: Layer, other: Layer) -> list[tuple[str, str]]:
    """Returns the tensors of two layers that are the same: by name or synonym, then by shape."""
    rest = dict(other.leaves)
    found: dict[str, str] = {}
    for name, _ in one.leaves:
        match = next((n for n in rest if _meaning(n) == _meaning(name)), None)
        if match is not None:
            found[name] = match
            del rest[match]
    for name, shape in one.leaves:
        # Where one of them lacks some, those of known meanings are no others.
        known = name in LEAVES and len(one.leaves) != len(other.leaves)
        left = [n for n in rest if not (known and n in LEAVES)]
        if name not in found and left:
            found[name] = min(left, key=lambda n: (rest[n] != shape, len(rest[n]) != len(shape)))
            del rest[found[name]]
    return [(name, found[name]) for name, _ in one.leaves if name in found]


def _meaning(leaf: str) -> str:
    recurrent = RECURRENT.fullmatch(leaf)
    return recurrent[1] if recurrent else LEAVES.get(leaf, leaf)


def shown(layers: Sequence[Layer], others: Iterable[Layer]) -> str:
    """Returns names in short: `Conv_{1..3,7}` for many that differ in one number, `Conv_*` for all."""
    kept = {layer.stack for layer in {*others} - {*layers}}
    stacks: dict[str, list[Layer]] = {}
    for layer in layers:
        stacks.setdefault(layer.stack, []).append(layer)
    found: list[str] = []
    for stack, group in stacks.items():
        if len(group) > 3 and stack not in kept:
            found.append(stack)
        elif len(group) > 3 and stack.count("*") == 1:
            found.append(stack.replace("*", f"{{{_ranges(int(layer.indices[0]) for layer in group)}}}"))
        else:
            found += [layer.full for layer in group]
    return ", ".join(found)


def _ranges(numbers: Iterable[int]) -> str:
    """Returns numbers as "1..3,7"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
