"""The contract of an architecture: every module-level name of its file that the rest of the zoo reads."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any, TypeAlias

import flax.linen as nn

from converters.matching import NamesAndRules
from zoo._errors import ZooError
from zoo._registry.entry import Input

FUNCTIONS = (
    "create",
    "inputs",
    "max_tokens",
    "sample",
    "generate",
    "transcribe",
)  # all other names are upper case
# The end of a tensor's name; of several, any.
Ends: TypeAlias = str | tuple[str, ...]
TOKENS = (Input("input_ids", (1, 16), "int32"),)

# transformers' names of activations -> the zoo's
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_10": "gelu_10",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_fast",
    "gelu_new": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "hardswish": "hard_swish",
    "laplace": "laplace",
    "leaky_relu": "leaky_relu",
    "linear": "linear",
    "mish": "mish",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


@dataclass(frozen=True, kw_only=True)
class ConfigFields:
    """Reading rules of a family for one model_type's attributes in a config.json of the Hub.

    Attributes:
        keywords: Attribute -> the keyword of the family's `create` that it stands for; several are one. Those
            of a section have its name before theirs: `text_config.hidden_size`.
        sections: Attributes that have attributes of their own.
        heads: Class of transformers that `architectures` may name -> further keywords; the first is the base
            model, which none stands for.
        fixed: Attribute -> the only value that the family has; it is transformers' default, too.
        fixed_for: Value of the keyword `head` -> the same for attributes that only this head reads.
        irrelevant: Attributes that change nothing, besides those that change nothing in any family.
        defaults: Keywords whose default is another one in transformers, or that no attribute has.
        inputs: The arrays that the model takes.
        activations: transformers' name of an activation -> the zoo's.
        classifies: If true, `create` takes num_classes, and id2label names the classes.
        embeds: If true, the files of sentence-transformers are read where they are.
        processor: Type of the image processor where preprocessor_config.json names none; empty for texts.
        layouts: Class of transformers -> the key of `torch_names` by which it writes files; "" is for others.
        read: The attributes of a file -> the same as today's transformers has them; older ones say some in
            other ways.
        write: Attributes that stand for keywords -> all that transformers has to read.
    """

    keywords: Mapping[str, str]
    heads: Mapping[str, Mapping[str, Any]]
    sections: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    fixed_for: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    irrelevant: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = TOKENS
    activations: Mapping[str, str] = field(default_factory=lambda: ACTIVATIONS)
    classifies: bool = False
    embeds: bool = False
    processor: str = ""
    layouts: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    write: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


def is_named(name: str, ends: Ends) -> bool:
    """Returns whether the name of a tensor is one of these, after a prefix or without."""
    several = (ends,) if isinstance(ends, str) else ends
    return f".{name}".endswith(tuple(f".{each}" for each in several))


def _same_inputs(module: Any, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
    return inputs


def _max_length(module: Any) -> int:
    length: int = module.max_length
    return length


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture of the zoo: `create`, and what the zoo has to know about its files and its use.

    Each field from `create` on is a name at the top level of `zoo/<name>.py`, or of `zoo/<name>/__init__.py`:
    functions as they are spelled here, all others in upper case (`torch_names` is TORCH_NAMES). Only `create`
    is required. The layers of `head`, `neck` and `stem` are attributes of the module.

    Attributes:
        name: The module's name below `zoo`, which an entry of the manifest calls its family.
        summary: The first line of the module's docstring.
        create: Builds the module; takes keywords only, has a default for each, and `dtype` is one of them.
        inputs: (module, an entry's inputs) -> the inputs with the shapes that a changed config gives them.
        max_tokens: Module -> the largest number of tokens in a text.
        sample: (model, class indices, seed=) -> images, if the family draws any; `zoo sample` calls it.
        generate: Continues texts as `zoo.gpt2.generate` does, if the family can; `zoo generate` asks for it.
        transcribe: (model, where its files are, waves, options of `zoo.transcribe`) -> their texts, if the
            family writes down speech.
        torch_names: Layout -> names pairs and rules by which PyTorch files keep the family's tensors.
        ignored: Regular expression for tensors of files that the module lacks -> a noun for the note.
        replaced_head: The same for tensors that are left over only where `num_classes=` replaces the head.
        tied: Tensor that some files keep twice -> the end of the other one's name, which has to be equal; of
            several ends, one is there.
        untied: Those of them that may differ -> keywords of `create` for files in which they do.
        head: The layers that give logits; `num_classes=` initializes them where the weights have others.
        neck: Layers before the head that only some files have; they may be initialized with it.
        headless: Head that some files lack -> a regular expression for its tensors, and the head without it.
        backbones: Value of `create`'s keyword `net` -> the entry whose tensors are those of the attribute
            `net`, where a file has none of them.
        stem: Names of the first layer, which `in_channels=` adapts to other images.
        classifier: Keywords of `create` that make a classifier; finetuning adds them.
        classifying: Values of the keyword `head` whose logits `num_classes` counts; all, if there are none.
        config_fields: model_type of the Hub -> how its config.json is read; weights_manifest.yaml lists it.
        tensor_parallel: Pattern for the ends of paths -> the mesh's axis for each of an array's last axes.
        tasks: Value of `create`'s keyword `head` -> the Hub's word for the task, in model cards.
        end_token: The token between texts, which ends a generated one and begins one without a prompt.
    """

    name: str
    summary: str
    create: Callable[..., nn.Module]
    inputs: Callable[[Any, tuple[Input, ...]], tuple[Input, ...]] = _same_inputs
    max_tokens: Callable[[Any], int] = _max_length
    sample: Callable[..., Any] | None = None
    generate: Callable[..., Any] | None = None
    transcribe: Callable[..., list[str]] | None = None
    torch_names: Mapping[str, NamesAndRules] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    replaced_head: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, Ends] = field(default_factory=dict)
    untied: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    head: tuple[str, ...] = ()
    neck: tuple[str, ...] = ()
    headless: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)
    stem: tuple[str, ...] = ()
    classifier: Mapping[str, Any] = field(default_factory=dict)
    classifying: tuple[str, ...] = ()
    config_fields: Mapping[str, ConfigFields] = field(default_factory=dict)
    tensor_parallel: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    end_token: str | None = None

    @classmethod
    def of(cls, module: ModuleType) -> "Family":
        """Reads the family off its module.

        All its upper-case names are the contract's, classes, or choices that `create`'s docstring names, as
        DEPTHS: a misspelt one would silently be nothing.

        Raises:
            ZooError: there is no `create`, an upper-case name that nothing reads, or text instead of layers.
        """
        contract = {_in_file(each.name): each.name for each in fields(cls)[2:]}
        values = {name: getattr(module, named) for named, name in contract.items() if hasattr(module, named)}
        if "create" not in values:
            raise ZooError(f"{module.__name__} has no create(); every architecture has one.")
        choices = re.findall(r"\w+", values["create"].__doc__ or "")
        for named, value in vars(module).items():
            constant = named.isupper() and not named.startswith("_") and not isinstance(value, type)
            if constant and named not in (*contract, *choices):
                near = difflib.get_close_matches(named, contract, 1)
                advice = f"; did you mean {near[0]}?" if near else f"; a constant of its own is _{named}."
                raise ZooError(f"{module.__name__} has {named}, which nothing in the zoo reads{advice}")
        for name in ("head", "neck", "stem"):
            if isinstance(values.get(name), str):
                raise ZooError(
                    f"{module.__name__}.{name.upper()} is text; expected a tuple of layers' names."
                )
        summary = (module.__doc__ or "").strip().partition("\n")[0]
        return cls(name=module.__name__.removeprefix("zoo."), summary=summary, **values)


def _in_file(field: str) -> str:
    """Returns the spelling of a field in a family's file."""
    return field if field in FUNCTIONS else field.upper()
