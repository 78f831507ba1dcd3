"""Models whose blocks are in a loop (scan=True) or computed anew for gradients (remat=True), against those
without, in float64."""

import json
from collections.abc import Mapping
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import converters
import zoo
from tests.cases import CASES
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.support.selection import slow_but
from zoo import gpt2
from zoo._registry import families
from zoo._saving.export import export
from zoo._variables.tree import flatten

pytestmark = pytest.mark.costly

FAMILIES = ("gpt2", "bert, masked", "vit, of the Hub", "transformer")
# A layer of each that drops units of the states.
DROPS = {
    "gpt2": "h/mlp/dropout",
    "bert, masked": "encoder/layer/output/dropout",
    "vit, of the Hub": "blocks/mlp/drop2",
    "transformer": "decoder/layers/drop",
}
RATES = {"dropout": 0.5}
RNGS = {"dropout": jax.random.key(5)}
TOLERANCE = 1e-12  # of the largest number
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **text_models.GPT2, "n_positions": 300}


class Pair(NamedTuple):
    """A model with scan, remat or both, and the same without; tensors by PyTorch's names."""

    plain: zoo.Model
    other: zoo.Model
    inputs: Any
    names: Any
    tensors: Mapping[str, np.ndarray]


@pytest.fixture(autouse=True)
def _doubles():
    with jax.enable_x64(True):
        yield


@cache
def tensors_of(case: str) -> Mapping[str, np.ndarray]:
    """The case's twin has every tensor random."""
    return state_dict(randomise(CASES[case].twin()))


def pair(name: str, **config: Any) -> Pair:
    """The case's model without and with the config's `scan` and `remat`."""
    case = CASES[name]
    create, names = families.named(case.family).create, families.named(case.family).torch_names
    found = []
    for more in ({"scan": False, "remat": False}, {}):
        module = create(**{**case.config, **config, **more})
        variables = converters.convert(tensors_of(name), module, *case.inputs, names=names[case.layout])
        found.append(zoo.Model(module, variables))
    return Pair(*found, case.inputs, names[case.layout], tensors_of(name))


def back(model: zoo.Model, variables: Any, found: Pair) -> dict[str, np.ndarray]:
    return converters.to_torch(variables, model.module, *found.inputs, names=found.names)


def outputs_and_gradients(model: zoo.Model, found: Pair, **kwargs: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The gradients, by PyTorch's names, are of all outputs' squares."""

    @jax.jit
    def run(variables: Any) -> Any:
        def loss(variables: Any) -> Any:
            leaves = jax.tree.leaves(model.replace(variables=variables)(*found.inputs, **kwargs))
            return sum((leaf**2).sum() for leaf in leaves), leaves

        return jax.value_and_grad(loss, has_aux=True)(variables)

    (_, outputs), gradients = run(model.variables)
    return [np.asarray(leaf) for leaf in outputs], back(model, gradients, found)


def check_close(ours: Any, theirs: Any) -> None:
    """Against the largest number of all."""
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
    assert largest > 0
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * largest),
        ours,
        theirs,
    )


@pytest.mark.parametrize("name", slow_but(("gpt2", "vit, of the Hub"), FAMILIES))
def test_outputs_and_gradients_are_those_of_the_model_without(name):
    found = pair(name)
    theirs = outputs_and_gradients(found.plain, found)
    for options in ({"scan": True}, {"remat": True}, {"scan": True, "remat": True}):
        found = pair(name, **options)
        check_close(outputs_and_gradients(found.other, found), theirs)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_block_of_a_loop_drops_its_own_units(name):
    found = pair(name, scan=True, **RATES)

    @jax.jit
    def run(model: zoo.Model, rngs: Any) -> Any:
        return zoo.features(model, *found.inputs, layers=[DROPS[name]], train=True, rngs=rngs)

    def masks(rngs: Any) -> np.ndarray:
        (given,) = run(found.other, rngs).values()
        return np.asarray(given[-1] if isinstance(given, tuple) else given) == 0

    dropped = masks(RNGS)
    np.testing.assert_array_equal(dropped, masks(RNGS))
    assert 0.4 < dropped.mean() < 0.6
    for one, next_ in [*pairwise(dropped), (dropped, masks({"dropout": jax.random.key(6)}))]:
        assert 0.4 < (one == next_).mean() < 0.6


def test_gradients_drop_the_same_units_where_blocks_are_computed_anew():
    found, other = (pair("gpt2", scan=True, remat=remat, **RATES) for remat in (False, True))
    ours, theirs = (outputs_and_gradients(each.other, each, train=True, rngs=RNGS) for each in (other, found))
    check_close(ours, theirs)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_file_becomes_stacked_arrays_and_comes_back_bit_for_bit(name, tmp_path):
    found = pair(name, scan=True)
    assert len(flatten(found.other.variables)) < len(flatten(found.plain.variables))
    files = []
    for index, model in enumerate((found.plain, found.other)):
        tensors = back(model, model.variables, found)
        assert all(tensors[each].tobytes() == tensor.tobytes() for each, tensor in found.tensors.items())
        files.append(tmp_path / f"{index}.safetensors")
        converters.write_checkpoint(tensors, files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_looped_model_compares_with_pytorch_layer_by_layer():
    found = pair("gpt2", scan=True, remat=True)
    twin = randomise(CASES["gpt2"].twin())
    comparison = converters.compare(
        twin, *found.other, *found.inputs, torch_inputs=found.inputs, names=found.names
    )
    assert comparison.ok, str(comparison)
    assert [row.torch_name for row in comparison.rows if row.layer == "h"] == [
        "transformer.h.0",
        "transformer.h.1",
    ]


@pytest.mark.parametrize("options", [{"scan": True}, {"remat": True}], ids=str)
def test_bfloat16_is_for_computing_only(options):
    found = pair("gpt2", dtype="bfloat16", **options)
    plain, other = (
        model.replace(variables=jax.tree.map(np.float32, model.variables))
        for model in (pair("gpt2").plain, found.other)
    )
    exact, rounded = (
        np.asarray(jax.jit(lambda model: model(*found.inputs).logits)(model)) for model in (plain, other)
    )
    assert (exact.dtype, rounded.dtype) == (np.float32, jnp.bfloat16)
    assert 1e-4 < np.abs(exact - rounded.astype(np.float32)).max() / np.abs(exact).max() < 0.05


@pytest.mark.parametrize("name", FAMILIES)
def test_a_loop_takes_any_dtype_to_compute_in_and_of_params(name):
    case = CASES[name]
    inputs = [np.float32(x) if x.dtype.kind == "f" else x for x in case.inputs]
    for compute, params in ((jnp.bfloat16, np.float32), (None, jnp.bfloat16), (np.float32, jnp.float16)):
        module = families.named(case.family).create(**case.config, scan=True, dtype=compute)
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        variables = jax.tree.map(partial(jax.ShapeDtypeStruct.update, dtype=np.dtype(params)), shapes)
        found = jax.eval_shape(partial(module.apply, train=True), variables, *inputs, rngs=RNGS)
        images = compute is None and case.family == "vit"
        expected = np.float32 if images else compute or params
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(expected)}


def test_a_loop_is_compiled_once_however_many_blocks_there_are():
    def program(depth: int, *, scan: bool) -> int:
        module = gpt2.create(vocab_size=20, max_length=8, width=8, depth=depth, heads=2, scan=scan)
        tokens = jax.ShapeDtypeStruct((1, 8), np.int32)
        variables = jax.eval_shape(module.init, jax.random.key(0), tokens)
        return len(jax.jit(module.apply).lower(variables, tokens).as_text())

    assert program(12, scan=True) < 1.1 * program(3, scan=True)
    assert program(12, scan=False) > 3 * program(3, scan=False)


@pytest.mark.parametrize("scan", [False, True])
def test_less_is_kept_for_gradients_where_blocks_are_computed_anew(scan):
    def kept(*, remat: bool) -> int:
        found = pair("gpt2", scan=scan, remat=remat)

        def run(variables: Any) -> Any:
            return found.other.replace(variables=variables)(*found.inputs).logits

        backward = jax.eval_shape(lambda variables: jax.vjp(run, variables)[1], found.other.variables)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    assert kept(remat=True) < 0.8 * kept(remat=False)


def test_what_the_blocks_give_is_stacked_and_so_are_gradients_there():
    found = pair("bert, masked", scan=True)

    def objective(output: Any) -> jax.Array:
        return (output.logits**2).sum()

    layers = ["encoder/layer", "encoder/layer(_.)?/output/dense", "cls"]

    @jax.jit
    def run(model: zoo.Model) -> Any:
        return zoo.feature_gradients(model, objective, *found.inputs, layers=layers)

    ours, theirs = run(found.other), run(found.plain)
    for mine, others in zip(ours, theirs, strict=True):
        assert set(mine) == {"encoder/layer", "encoder/layer/output/dense", "cls"}
        for path in ("encoder/layer", "encoder/layer/output/dense"):
            one, rest = path.replace("layer", "layer_0", 1), path.replace("layer", "layer_1", 1)
            check_close(mine[path], np.stack([others[one], others[rest]]))
        check_close(mine["cls"], others["cls"])


class Blind(nn.Module):
    """A loop that carries what layers give out, and nothing else in."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        axes = {"params": 0, "intermediates": 0}
        loop = nn.scan(
            lambda layer, x, _: (layer(x), None), variable_axes=axes, split_rngs={"params": True}, length=2
        )
        return loop(nn.Dense(3, name="layer"), x, None)[0]


def test_gradients_in_a_loop_that_shuts_them_out_are_refused():
    module, x = Blind(), np.ones((1, 3))
    model = zoo.Model(module, module.init(jax.random.key(0), x))
    with pytest.raises(zoo.ZooError, match="'layer' is in a loop whose variable_axes= lack 'perturbations'"):
        zoo.feature_gradients(model, jnp.sum, x, layers=["layer"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A GPT-2 as transformers saves it."""
    directory = tmp_path_factory.mktemp("hub")
    (directory / "config.json").write_text(json.dumps(GPT2))
    sizes = {**text_models.GPT2, "n_positions": 300}
    twin = randomise(text_models.model("GPT2LMHeadModel", sizes, ()))
    tensors = {name: tensor for name, tensor in state_dict(twin).items() if name != "lm_head.weight"}
    converters.write_checkpoint(tensors, directory / "model.safetensors")
    return directory


PROMPTS = np.random.default_rng(0).integers(2, 50, size=(3, 9))
MASK = (np.arange(9) >= np.array([[0], [5], [1]])).astype(int)


def test_the_same_tokens_are_generated_while_the_cache_grows(hub):
    plain, looped = (zoo.load(hub, pretrained=True, scan=scan) for scan in (False, True))
    texts = [
        gpt2.generate(model, PROMPTS, max_new_tokens=130, attention_mask=MASK, temperature=1.0)
        for model in (plain, looped)
    ]
    assert texts[0].shape == (3, 139)
    np.testing.assert_array_equal(*texts)


def test_a_saved_model_keeps_its_loop_and_is_exported_as_one_without(hub, tmp_path):
    for name, options in {"plain": {}, "looped": {"scan": True, "remat": True}}.items():
        model = zoo.load(hub, pretrained=True, **options)
        zoo.save(model, tmp_path / name)
        loaded = zoo.load(tmp_path / name, pretrained=True)
        assert loaded.module == model.module
        assert loaded.entry.num_params == zoo.info(hub).num_params
        export(tmp_path / name, tmp_path / f"{name}.pth", layout="transformers")
    assert loaded.module.settings.series == (2, True, True)
    assert (tmp_path / "plain.pth").read_bytes() == (tmp_path / "looped.pth").read_bytes()


@pytest.mark.parametrize("scan", [False, True])
def test_a_saved_model_is_loaded_with_and_without_a_loop(hub, tmp_path, scan):
    zoo.save(zoo.load(hub, pretrained=True, scan=not scan), tmp_path / "saved")
    wanted = zoo.load(hub, pretrained=True, scan=scan)
    loaded = zoo.load(tmp_path / "saved", pretrained=True, scan=scan)
    assert loaded.module == wanted.module
    ours, theirs = flatten(loaded.variables), flatten(wanted.variables)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[path], theirs[path]) for path in theirs)
    with pytest.raises(zoo.WeightsError, match="left over"):
        zoo.load(tmp_path / "saved", pretrained=True, scan=scan, depth=1)


def test_a_looped_model_takes_a_new_head(tmp_path):
    config = {**CASES["bert, masked"].config, "head": "classification", "scan": True}
    zoo.save(zoo.load("bert-base-uncased", **config, num_classes=3), tmp_path / "saved")
    model = zoo.load(tmp_path / "saved", pretrained=True, num_classes=5)
    assert model.notes == ("initialised anew: params/classifier/kernel (24, 5), params/classifier/bias (5,)",)


def test_a_loop_without_blocks_is_refused():
    with pytest.raises(zoo.ZooError, match="scan=True needs at least one block, and the depth is 0"):
        zoo.load("gpt2", depth=0, scan=True)
