"""Each family in NNX against linen and against PyTorch, in float64: outputs, gradients, statistics."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from tests.cases import CASES, ONE_OF_EACH, Case
from tests.equivalence import FORWARD, check_gradients, difference, flax_gradients, run_torch
from tests.test_equivalence import channels_first, prepare
from zoo._nnx.build import build, linen_variables
from zoo._nnx.tree import variables
from zoo._registry import families
from zoo._variables.tree import flatten, unflatten

pytestmark = pytest.mark.costly

Flat = Mapping[str, Any]
# Between them, all that the modules are made of; the others are computed by `make test-all`.
COMPUTED = ("mlp", "cnn", "vae", "resnet", "bert", "gpt2")
TRACED = (*COMPUTED, "efficientnet", "swin", "vit", "eva", "clip", "t5", "llama", "whisper", "autoencoder_kl")
# NNX's layers add axes by reshaping where linen's broadcast.
IGNORED = ("broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "random_", "stop_")


def operations(program: Any) -> Counter[str]:
    """Counts what a traced program computes."""
    found: Counter[str] = Counter()
    for equation in program.eqns:
        values = jax.tree.leaves([*equation.params.values()], is_leaf=lambda each: hasattr(each, "eqns"))
        inner = [getattr(each, "jaxpr", each) for each in values]
        inner = [operations(each) for each in inner if hasattr(each, "eqns")]
        found += sum(inner, Counter()) if inner else Counter([equation.primitive.name])
    return Counter({name: found[name] for name in found if not name.startswith(IGNORED)})


@pytest.mark.parametrize(
    "family", [pytest.param(each, marks=[pytest.mark.slow] * (each not in TRACED)) for each in ONE_OF_EACH]
)
def test_every_family_in_training_is_traced_to_the_operations_of_linen(family):
    case = CASES[ONE_OF_EACH[family]]
    module = families.named(case.family).create(**case.config)
    kinds = [np.float32 if x.dtype == float else np.int32 for x in case.inputs]
    inputs = [jax.ShapeDtypeStruct(x.shape, kind) for x, kind in zip(case.inputs, kinds, strict=True)]
    shapes = jax.eval_shape(module.init, {"params": jax.random.key(0), **case.rngs}, *inputs)
    made = build(module, shapes, inputs, nnx.Rngs(0, **case.rngs))
    made.train()
    graph, state = nnx.split(made)

    def trained(state: Any, *inputs: Any) -> Any:
        called = nnx.merge(graph, state)
        return called(*inputs), nnx.state(called, nnx.BatchStat)

    options = {"rngs": {**case.rngs, "dropout": jax.random.key(0)}, "train": True, "mutable": ["batch_stats"]}
    ours = jax.make_jaxpr(trained)(state, *inputs)
    theirs = jax.make_jaxpr(partial(module.apply, **options))(shapes, *inputs)
    counter = Counter(["add"] if case.rngs else [])  # of NNX's random stream
    assert operations(ours.jaxpr) == operations(theirs.jaxpr) + counter
    assert {"/".join(path): each.shape for path, each in variables(made)} == {
        path: leaf.shape for path, leaf in flatten(shapes).items()
    }


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, id=family, marks=[] if family in COMPUTED else [pytest.mark.slow])
        for family, name in ONE_OF_EACH.items()
    ],
)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def models(case) -> SimpleNamespace:
    """The linen module, its variables, PyTorch's twin, the NNX module, and what both libraries compute."""
    found = prepare(case)
    with jax.enable_x64(True):
        found.nnx = build(found.module, found.variables, case.inputs, nnx.Rngs(0, **case.rngs))
    found.cotangents = cotangents(found.twin, case, found.more)
    found.theirs = computed(case, found, linen_call(case, found))
    found.ours = computed(case, found, nnx_call(case, found))
    return found


def cotangents(twin: Any, case: Case, more: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Random ones, PyTorch's way around; zero for what depends on a VAE's noise, which the libraries draw."""
    saved = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
    outputs = run_torch(twin.train(), [*map(channels_first, case.inputs), *more]).outputs
    twin.load_state_dict(saved)
    rng = np.random.default_rng(5)
    return [rng.normal(size=x.shape) * (not case.rngs or index > 0) for index, x in enumerate(outputs)]


def linen_call(case: Case, models: SimpleNamespace) -> Callable[..., Any]:
    def call(flat: Flat, *, train: bool) -> Any:
        options = {"train": train, "mutable": ["batch_stats"], "rngs": case.rngs}
        outputs, changed = models.module.apply(unflatten(flat), *case.inputs, **options)
        return outputs, flatten(changed)

    return call


def nnx_call(case: Case, models: SimpleNamespace) -> Callable[..., Any]:
    graph, state = nnx.split(models.nnx)

    def call(flat: Flat, *, train: bool) -> Any:
        module = nnx.merge(graph, state, copy=True)
        for path, each in variables(module):
            each.set_value(flat["/".join(path)])
        (module.train if train else module.eval)()
        outputs = module(*case.inputs)
        found = linen_variables(module)
        return outputs, {path: array for path, array in found.items() if path.startswith("batch_stats/")}

    return call


def computed(case: Case, models: SimpleNamespace, call: Callable[..., Any]) -> SimpleNamespace:
    """Outputs in both modes, gradients in training and statistics after it; compiled once."""
    pictures = case.inputs[0].ndim == 4
    back = [np.moveaxis(c, 1, -1) if pictures and c.ndim == 4 else c for c in models.cotangents]

    def everything(params: Flat, rest: Flat) -> Any:
        def trained(params: Flat) -> Any:
            outputs, changed = call({**params, **rest}, train=True)
            return tuple(jax.tree.leaves(outputs)), changed

        plain, _ = call({**params, **rest}, train=False)
        outputs, pull, changed = jax.vjp(trained, params, has_aux=True)
        return jax.tree.leaves(plain), outputs, pull(tuple(map(jax.numpy.asarray, back)))[0], changed

    flat = flatten(models.variables)
    params = {path: array for path, array in flat.items() if path.startswith("params/")}
    with jax.enable_x64(True):
        rest = {path: array for path, array in flat.items() if path not in params}
        found = jax.tree.map(np.asarray, jax.jit(everything)(params, rest))
    first = 1 if case.rngs else 0  # of the outputs that do not depend on noise
    names = ("eval", "train", "gradients", "statistics")
    return SimpleNamespace(**dict(zip(names, (found[0][first:], found[1][first:], *found[2:]), strict=True)))


def test_its_arrays_are_linens_in_order_and_values(models):
    theirs, ours = flatten(models.variables), linen_variables(models.nnx)
    assert [*flatten(unflatten(ours))] == [*theirs]
    assert all(np.array_equal(array, theirs[path]) for path, array in ours.items())
    params = jax.tree.leaves(nnx.state(models.nnx, nnx.Param))
    assert len(params) == len(jax.tree.leaves(models.variables["params"]))


def test_it_computes_what_linen_does(models):
    ours, theirs = models.ours, models.theirs
    for found, expected in zip([*ours.eval, *ours.train], [*theirs.eval, *theirs.train], strict=True):
        assert difference(found, expected) <= FORWARD
    largest = max(np.abs(each).max() for each in theirs.gradients.values())
    for path, expected in theirs.gradients.items():
        assert difference(ours.gradients[path], expected, largest) <= FORWARD, path
    assert ours.statistics.keys() == theirs.statistics.keys()
    for path, expected in theirs.statistics.items():
        assert difference(ours.statistics[path], expected) <= FORWARD, path


def test_it_computes_what_pytorch_does(case, models):
    theirs = [*map(channels_first, case.inputs), *models.more]
    saved = {name: tensor.clone() for name, tensor in models.twin.state_dict().items()}
    first = 1 if case.rngs else 0

    def ours(outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        pictures = case.inputs[0].ndim == 4
        return [channels_first(output) if pictures else output for output in outputs]

    for found, expected in zip(
        ours(models.ours.eval), run_torch(models.twin.eval(), theirs).outputs[first:], strict=True
    ):
        assert difference(found, expected) <= FORWARD
    models.twin.train()
    reference = run_torch(models.twin, theirs, models.cotangents)
    models.twin.load_state_dict(saved)
    turned = [c[::-1] for c in models.cotangents]
    reordered = run_torch(models.twin, [x[::-1] for x in theirs], turned)
    for found, expected, other in zip(
        ours(models.ours.train), reference.outputs[first:], reordered.outputs[first:], strict=True
    ):
        assert difference(found, expected) <= max(10 * difference(other[::-1], expected), FORWARD)
    with jax.enable_x64(True):
        gradients = unflatten({path.partition("/")[2]: g for path, g in models.ours.gradients.items()})
        moved = flax_gradients(models.module, gradients, models.variables, *case.inputs, **models.options)
        trained = {**models.variables, **unflatten(models.ours.statistics)}
        statistics = flax_gradients(
            models.module, models.variables["params"], trained, *case.inputs, **models.options
        )
    assert len(models.ours.eval) == len(models.ours.train) > 0
    assert reference.params
    present = {name: moved[name] for name in reference.params}
    print(check_gradients(present, reference.params, reordered.params))
    kept = {name: each for name, each in reference.buffers.items() if each.dtype == np.float64}
    compared = {name: each for name, each in kept.items() if name in statistics}
    assert len(compared) == len(models.ours.statistics)
    for name, expected in compared.items():
        itself = difference(reordered.buffers[name], expected)
        assert difference(statistics[name], expected) <= max(10 * itself, FORWARD), name
