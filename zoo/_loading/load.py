"""From an entry to a model: its module, and its weights or new ones."""

from __future__ import annotations  # help(zoo.load) then shows the names of types, not what they stand for

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import flax.linen as nn
import jax
import numpy as np
from jax.typing import DTypeLike

from converters.checkpoints import Checkpoint
from converters.formats import are_flax
from converters.matching import Conversion, contiguous
from zoo._errors import WeightsError, ZooError
from zoo._hub.settings import Token
from zoo._loading import heads, layouts, sentence_transformers, weights
from zoo._loading.build import build
from zoo._loading.companions import companion
from zoo._loading.layouts import NO_LEEWAY, Leeway
from zoo._loading.located import Located
from zoo._loading.nnx_model import in_nnx
from zoo._loading.own_nnx import is_function, load_own
from zoo._loading.resolve import Name, resolve
from zoo._loading.terms import log_terms
from zoo._model import Model, Origin
from zoo._registry import families
from zoo._registry.entry import Entry, FrozenMapping
from zoo._variables import init, lazy, quantized, stacking
from zoo._variables.casting import Array, float_dtype
from zoo._variables.check import check_fit
from zoo._variables.sharding import Placement, log_replicated
from zoo._variables.tree import count_params, unflatten

if TYPE_CHECKING:
    from flax import nnx

LIBRARIES = ("linen", "nnx")
Loaded: TypeAlias = tuple[dict[str, lazy.Array], tuple[str, ...]]  # by path; what was left out and why


def load(
    name: Name,
    *,
    pretrained: bool = False,
    seed: int = 0,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    sharding: Placement | None = None,
    module: nn.Module | Callable[[], nnx.Module] | None = None,
    revision: str | None = None,
    token: Token = None,
    verify: bool = False,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
    library: str = "linen",
    **config: Any,
) -> Model:
    """Builds a model, with its published weights or initialised.

    Args:
        name: A name of the manifest; a directory that `save` wrote or one in the Hub's layout (a string
            without a separator is sought in the manifest first); or a repository of the Hub that holds
            either: `hf://owner/name`, or `hf://owner/name@revision`.
        pretrained: If true, loads the weights, fetched unless they are in the cache; initialised with `seed`
            otherwise.
        seed: Seed of the random initialisation.
        dtype: Compute dtype of the module; by default, its inputs and params decide.
        param_dtype: Dtype of floating-point params; by default they stay as in the file. Statistics of
            batch norms have at least float32.
        sharding: Where arrays go: one for all, or a function of an array's path and shape, such as `fsdp` and
            `tensor_parallel` give. A process then reads of a file what its own devices have of the arrays.
        module: A module of your own that takes the weights, instead of the family's; or a function that
            makes one of NNX, `lambda: Net(rngs=nnx.Rngs(0))`, which is then the model's `module`.
        revision: Revision of a repository: a commit, branch or tag.
        token: For the Hub: a token of yours, or False for none; by default that of your login, if any.
        verify: With `sharding`, whether files are hashed that were hashed before and have not changed since.
        ignore: Regular expressions for whole names of tensors, or paths of arrays, that may be left over.
        missing: Regular expressions for whole names of tensors, or paths of arrays, that may be missing:
            these arrays are initialised with `seed`, which is noted and logged.
        library: "linen", or "nnx" for a model whose `module` is an `nnx.Module` with a module for each
            layer, as `to_nnx` makes it; its random streams begin from `seed`.
        **config: Keywords of the family's `create` that differ from the entry's; `head=` chooses another
            head than a repository's config.json names. With `num_classes=`, a head that the weights lack or
            have for other classes is initialised with `seed`, which is noted and logged; 0 gives features.
            A model of text without classes gets the head "classification" with it.
            With `in_channels=`, the first kernel is summed or repeated over the channels of images.

    Examples:
        >>> model = zoo.load("resnet50", pretrained=True)
        >>> module, variables = model
        >>> zoo.load("resnet18", pretrained=True, num_classes=37)  # a new head, to finetune
        >>> zoo.load("vae_mnist", latent_dim=2, seed=1)  # another architecture of the family, to train
        >>> zoo.load("hf://sentence-transformers/all-MiniLM-L6-v2", pretrained=True, dtype="bfloat16")
        >>> zoo.load("./runs/mine", pretrained=True)

    Raises:
        UnknownModelError: the manifest has no such name.
        WeightsError: the weights are missing, cannot be fetched, are damaged, or do not fit the module.
    """
    if library not in LIBRARIES:
        raise ZooError(f"library={library!r}; expected one of {', '.join(LIBRARIES)}.")
    located = resolve(name, revision, token, config.get("head"))
    if is_function(module):
        others: dict[str, Any] = {
            "dtype": dtype,
            "param_dtype": param_dtype,
            "sharding": sharding,
            "ignore": ignore,
            "missing": missing,
            "verify": verify,
            **config,
        }
        return load_own(located, module, pretrained=pretrained, others=others)
    model = load_located(
        located,
        pretrained=pretrained,
        seed=seed,
        dtype=dtype,
        param_dtype=param_dtype,
        sharding=sharding,
        module=cast("nn.Module | None", module),  # other callables are refused
        verify=verify,
        leeway=Leeway.of(ignore, missing),
        config=config,
    )
    return model if library == "linen" else in_nnx(model, seed)


_BACKBONE = "net"  # the attribute that holds one


def backbone_of(entry: Entry) -> Located | None:
    """Returns the entry that gives the tensors of the network inside, which the entry's own file lacks."""
    name = families.family(entry).backbones.get(entry.config.get(_BACKBONE, "")) if entry.family else None
    return resolve(name) if name else None


KEYWORDS = tuple(inspect.signature(load).parameters)[1:-1]


def load_located(
    located: Located,
    *,
    pretrained: bool = False,
    seed: int = 0,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    sharding: Placement | None = None,
    module: nn.Module | None = None,
    verify: bool = False,
    leeway: Leeway = NO_LEEWAY,
    config: Mapping[str, Any] = MappingProxyType({}),
    aloud: bool = True,
) -> Model:
    """Builds a model whose name is resolved; arguments as for `load`; `aloud` logs which arrays are new."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ZooError(f"seed={seed!r}; expected a whole number.")
    config = heads.completed(located.entry, config)
    access = weights.Access(sliced=sharding is not None, verify=verify)
    built, described = build(located.entry, module=module, dtype=dtype, config=config, others=KEYWORDS)
    heads.check_effect(located.entry, config)
    notes: tuple[str, ...] = ()
    ahead = partial(layouts.trace_ahead, located.entry, built, described.inputs)
    tensors = weights.read(located, access, meanwhile=ahead) if pretrained else None
    if tensors is not None and module is None:
        located, notes = heads.as_in_file(located, tensors, chosen="head" in config)
        built, described = build(located.entry, dtype=dtype, config=config)
    entry = located.entry
    cast = None if param_dtype is None else float_dtype("param_dtype", param_dtype)
    if not entry.inputs and not pretrained:
        raise ZooError(f"{entry.name!r} was saved without inputs=; initialise the module yourself.")
    flat: dict[str, jax.Array] = {}
    new: dict[str, jax.Array] = {}
    if tensors is not None:
        arrays, more = _fitting(located, tensors, access, built, described, config, leeway)
        notes += (*more, *log_terms(entry, aloud=aloud))
        flat = lazy.place_all(arrays, cast, sharding)
    if not pretrained or heads.head(entry, config) or leeway.missing:
        new = init.initialize(built, described.inputs, seed, cast, sharding, flat.keys())
        notes += heads.log_new(entry.name, new, aloud=aloud) if pretrained else ()
        flat |= new
    notes += log_replicated(entry.name, sharding, flat)
    variables = unflatten(flat)
    record = _describe(located, described, variables, pretrained=pretrained, new=bool(new))
    origin = Origin(pretrained=pretrained, initialized=tuple(new) if pretrained else (), located=located)
    return Model(built, variables, record, notes, origin)


def pretrained_arrays(
    located: Located, module: nn.Module | None = None
) -> tuple[nn.Module, dict[str, Array]]:
    """Returns the module and the arrays of a model's weights, in NumPy's memory."""
    tensors = weights.read(located)
    located, _ = (located, ()) if module else heads.as_in_file(located, tensors)
    built, _ = build(located.entry, module=module)
    arrays, _ = _pretrained(located, tensors, weights.WHOLE, built)
    return built, {path: np.asarray(array) for path, array in arrays.items()}


def pretrained_fit(
    located: Located, config: Mapping[str, Any], leeway: Leeway
) -> tuple[nn.Module, Entry, layouts.Fitted]:
    """Returns the module of PyTorch weights, its entry, and the tensors that make its arrays; reads none."""
    tensors = weights.read(located)
    located, notes = heads.as_in_file(located, tensors)
    built, described = build(located.entry, config=config)
    found = layouts.fitted(described, _completed(located, tensors), built, leeway=leeway)
    return built, described, found._replace(notes=(*notes, *found.notes))


def _fitting(
    located: Located,
    tensors: Checkpoint,
    access: weights.Access,
    built: nn.Module,
    described: Entry,
    config: Mapping[str, Any],
    leeway: Leeway,
) -> Loaded:
    """Returns the arrays of the weights for a module that was built with a changed config, and notes."""
    entry = located.entry
    donor_config = heads.weights_config(entry, config)
    same = donor_config == config
    donor, fitting = (built, described) if same else build(entry, config=donor_config)
    arrays, notes = _pretrained(
        located.with_inputs(fitting.inputs),
        tensors,
        access,
        donor,
        heads.head(entry, config),
        heads.other_head(entry, donor_config),
        leeway,
    )
    return arrays if same else heads.adapt_stem(entry, arrays, described.config["in_channels"]), notes


def _pretrained(
    located: Located,
    tensors: Checkpoint,
    access: weights.Access,
    module: nn.Module,
    head: tuple[str, ...] = (),
    other: heads.OtherHead | None = None,
    leeway: Leeway = NO_LEEWAY,
) -> Loaded:
    """Returns the arrays of the weights, which fit the module but for its head, and notes."""
    entry, notes = located.entry, tuple[str, ...]()
    if entry.layout:
        found = _completed(located, tensors)
        fitted = layouts.fitted(entry, found, module, head, other, leeway)
        arrays, notes = _converted(fitted.conversion, sliced=access.sliced)
        return arrays | init.constants(module, entry.inputs, fitted.lacking), notes
    arrays = dict[str, Any](tensors) if tensors.in_memory else lazy.pending(tensors)
    if not are_flax(arrays):
        raise WeightsError(
            f"{entry.name!r} has PyTorch tensors for weights, such as {next(iter(arrays), 'none')!r}; "
            "make Flax weights of them with zoo convert."
        )
    arrays = quantized.joined(arrays)
    if entry.inputs:  # what a module of one's own was saved without, Flax compares when it is called
        shapes = init.shapes(module, entry.inputs)
        arrays, shapes, notes = heads.drop_mismatched(arrays, shapes, head, other)
        arrays = stacking.stack_or_unstack(arrays, shapes)
        arrays, shapes = leeway.applied(arrays, shapes)
        lacking = {path for path in shapes if path not in arrays and re.fullmatch(layouts.CONSTANTS, path)}
        arrays |= init.constants(module, entry.inputs, lacking)
        check_fit(arrays, shapes, module)
    return dict(arrays), notes


def _completed(located: Located, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Adds the tensors that are in other files: of sentence-transformers' dense layers, and of a backbone."""
    entry = located.entry
    if entry.config.get("projections"):
        read = partial(companion, located, at_root=True)
        return {**tensors, **dict(sentence_transformers.dense_tensors(entry.name, read))}
    backbone = backbone_of(entry)
    if backbone is None or any(name.startswith(f"{_BACKBONE}.") for name in tensors):
        return tensors
    others, unused = weights.read(backbone), "|".join(families.family(entry).ignored)
    inside = {f"{_BACKBONE}.{name}": name for name in others}
    return {**tensors, **{to: others[name] for to, name in inside.items() if not re.fullmatch(unused, to)}}


def _converted(conversion: Conversion, *, sliced: bool) -> Loaded:
    """Returns the arrays that a PyTorch file's tensors make, and notes."""
    if sliced:
        return lazy.converted(conversion), conversion.notes
    return {
        "/".join(path): contiguous(array) for path, array in conversion.arrays(ahead=True)
    }, conversion.notes


def _describe(
    located: Located, built: Entry, variables: Mapping[str, Any], *, pretrained: bool, new: bool
) -> Entry:
    """Returns the entry itself for exactly the published model; else a copy without claims about weights."""
    entry, count = located.entry, count_params(variables)
    if not pretrained or new or built != entry:
        return replace(
            built,
            num_params=count,
            weights=None,
            layout=None,
            metrics=FrozenMapping(),
            source=None,
            base_model=located.public_name if pretrained else None,
        )
    if not located.counted:
        return replace(entry, num_params=count)
    if count != entry.num_params:
        raise WeightsError(f"{entry.name!r} has {count:,} parameters; its entry says {entry.num_params:,}.")
    return entry
