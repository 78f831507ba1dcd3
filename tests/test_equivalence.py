"""Every architecture against an independent PyTorch implementation, in float64 and once in float32."""

import copy
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.cases import CASES, DROPOUT_CASES, HEAD_CASES, Case, each, each_case
from tests.dropouts import same_dropout
from tests.equivalence import (
    FORWARD,
    Result,
    check_gradients,
    difference,
    flax_gradients,
    flax_step,
    randomise,
    run_flax,
    run_torch,
    state_dict,
)
from tests.support import compilation

pytestmark = pytest.mark.costly

FLOAT32 = 1e-5  # of the largest output, as users run it
# One model of each kind; `make test-all` has the others.
IN_FLOAT32 = (
    "vae",
    "resnet18",
    "mobilenet v2",
    "vit",
    "swin",
    "clip",
    "bert",
    "gpt2",
    "llama",
    "t5",
    "whisper",
)


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Without dropout and batch norm, a model in training is the same program."""
    with compilation.kept(tmp_path_factory.mktemp("compiled")):
        yield


def prepare(case: Case) -> SimpleNamespace:
    """Both models with the same random weights, and the inputs of each; the twin is the caller's own."""
    models = converted(case)
    return SimpleNamespace(**{**vars(models), "twin": copy.deepcopy(models.twin)})


@cache
def converted(case: Case) -> SimpleNamespace:
    family = importlib.import_module(f"zoo.{case.family}")
    module = family.create(**case.config)
    names = getattr(family, "TORCH_NAMES", {}).get(case.layout, ())
    twin = randomise(case.twin(), norms=case.norms)
    options = {"names": names}
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(twin), module, *case.inputs, **options)
        more = case.more(module, variables, np.float64)
    return SimpleNamespace(module=module, twin=twin, variables=variables, options=options, more=more)


def channels_first(x: np.ndarray) -> np.ndarray:
    """Images for PyTorch; everything else as it is."""
    return np.moveaxis(x, -1, 1) if x.ndim == 4 else x


def backwards(case: Case, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs for the batch reversed; both axes of what compares each example with each."""
    return [x[::-1, ::-1] if index < case.pairwise else x[::-1] for index, x in enumerate(outputs)]


@each_case
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_outputs_and_gradients_match_pytorch(case: Case, train: bool) -> None:
    """And in training the running statistics after two steps: the second finds what the first one left.

    Of models with such statistics, gradients are compared in training alone; tests of layers have the others.
    """
    models = prepare(case)
    twin = models.twin.train(train)
    theirs = [*map(channels_first, case.inputs), *models.more]
    saved = {name: tensor.clone() for name, tensor in twin.state_dict().items()}

    def steps(inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> tuple[Result, Result]:
        twin.load_state_dict(saved)
        return run_torch(twin, inputs, cotangents), run_torch(twin, inputs)

    rng = np.random.default_rng(5)
    cotangents = [rng.normal(size=output.shape) for output in run_torch(twin, theirs).outputs]
    reference, second = steps(theirs, cotangents)
    reordered, second_reordered = steps([x[::-1] for x in theirs], backwards(case, cotangents))

    pictures = case.inputs[0].ndim == 4  # logits of several choices have four axes, too
    back = [np.moveaxis(c, 1, -1) if pictures and c.ndim == 4 else c for c in cotangents]
    step = flax_step(
        models.module, case.inputs, mutable=["batch_stats"] if train else [], train=train, rngs=case.rngs
    )
    has_gradients = train or "batch_stats" not in models.variables
    outputs, grads, _, changed = step(models.variables, case.inputs, back if has_gradients else None)
    others = backwards(case, reordered.outputs)
    for output, expected, other in zip(outputs, reference.outputs, others, strict=True):
        itself = difference(other, expected)
        error = difference(channels_first(output) if pictures else output, expected)
        print(f"outputs differ by {error:.1e}, torch from itself by {itself:.1e}")
        assert error <= (max(10 * itself, FORWARD) if train else FORWARD)
    if has_gradients:
        with jax.enable_x64(True):
            ours = flax_gradients(models.module, grads, models.variables, *case.inputs, **models.options)
        print(check_gradients(ours, reference.params, reordered.params))
    if "batch_stats" not in changed:
        return
    *_, changed = step({**models.variables, **changed}, case.inputs, back)
    with jax.enable_x64(True):
        found = converters.to_torch(
            {**models.variables, **changed}, models.module, *case.inputs, **models.options
        )
    names = [name for name in second.buffers if name in found]
    itself = max(difference(second_reordered.buffers[name], second.buffers[name]) for name in names)
    error = max(difference(found[name], second.buffers[name]) for name in names)
    print(f"running statistics differ by {error:.1e}, torch from itself by {itself:.1e}")
    assert error <= max(10 * itself, FORWARD)


@each({name: replace(case, slow=name not in IN_FLOAT32) for name, case in CASES.items()})
def test_float32_outputs_match_pytorch(case: Case) -> None:
    """As users run it: float32 weights and inputs, the highest matmul precision."""
    models = prepare(case)
    models.twin.float().eval()
    inputs = [x.astype(np.float32) if x.dtype == np.float64 else x for x in case.inputs]
    more = case.more(models.module, models.variables, np.float32)
    with torch.no_grad():
        theirs = models.twin(
            *(torch.from_numpy(np.array(channels_first(x), order="C")) for x in (*inputs, *more))
        )
    variables = jax.tree.map(lambda array: array.astype(np.float32), models.variables)
    with jax.default_matmul_precision("highest"):
        ours = models.module.apply(variables, *inputs, rngs=case.rngs)
    for output, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        found, wanted = channels_first(np.asarray(output)), expected.numpy()
        assert found.dtype == wanted.dtype == np.float32
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        print(f"float32 outputs differ by {error:.1e}")
        assert error <= FLOAT32


@each_case
def test_the_exported_state_dict_is_the_twins(case: Case) -> None:
    """Through a strict load into a fresh twin, bit for bit."""
    models = prepare(case)
    with jax.enable_x64(True):
        exported = converters.to_torch(models.variables, models.module, *case.inputs, **models.options)
    fresh = case.twin().double()
    fresh.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in exported.items()}, strict=True)
    for name, tensor in models.twin.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name


@each(DROPOUT_CASES)
def test_dropout_acts_where_pytorchs_does(case: Case) -> None:
    models = prepare(case)
    with same_dropout(maps=case.drops_maps):
        theirs = run_torch(models.twin.train(), [*map(channels_first, case.inputs), *models.more])
        changed = ["batch_stats"] if "batch_stats" in models.variables else []
        ours, *_ = run_flax(models.module, models.variables, case.inputs, mutable=changed, train=True)
    without, *_ = run_flax(models.module, models.variables, case.inputs)
    for plain, output in zip(without, ours, strict=False):  # auxiliary heads are there in training alone
        assert difference(plain, output) > 0.01, "nothing was dropped"
    pictures = case.inputs[0].ndim == 4
    for output, expected in zip(ours, theirs.outputs, strict=True):
        error = difference(channels_first(output) if pictures else output, expected)
        print(f"outputs differ by {error:.1e}")
        assert error <= FORWARD


@each(HEAD_CASES)
def test_heads_and_their_dropout_are_transformers(case: Case) -> None:
    test_outputs_and_gradients_match_pytorch(case, train=False)
    test_dropout_acts_where_pytorchs_does(case)


def test_the_vae_decodes_latents_alone_as_its_twin_does() -> None:
    models = prepare(CASES["vae"])
    latents, labels = np.random.default_rng(1).normal(size=(4, 32)), np.arange(4)
    (output,), *_ = run_flax(models.module, models.variables, [latents, labels], method="decode")
    theirs = models.twin.decode(torch.from_numpy(latents), torch.from_numpy(labels)).detach().numpy()
    assert difference(channels_first(output), theirs) <= FORWARD


def test_every_family_of_the_manifest_has_a_case() -> None:
    families = {zoo.info(name).family for name in zoo.list_models()}
    assert families <= {case.family for case in CASES.values()}


def test_a_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound can fail: another pooling in the CNN is far outside it."""
    import flax.linen as nn

    monkeypatch.setattr(nn, "avg_pool", nn.max_pool)
    with pytest.raises(AssertionError):
        test_outputs_and_gradients_match_pytorch(CASES["cnn"], train=False)
