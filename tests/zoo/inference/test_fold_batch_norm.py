"""Folded models against the models that they were, in float64, on modules that could mislead the folding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

import zoo
from tests.equivalence import difference
from zoo import resnet
from zoo._inference.fold_batch_norm import ORIGINALS
from zoo._nn.convolutions import conv
from zoo._nn.layers import BatchNorm

pytestmark = pytest.mark.costly

TINY = {"channels": 8, "num_classes": 5}
X = np.random.default_rng(0).normal(size=(2, 19, 13, 3))


def randomised(module, *inputs, **kwargs):
    """A model in float64 whose every number is random, variances positive."""
    shapes = flatten_dict(
        jax.eval_shape(lambda *inputs: module.init(jax.random.key(0), *inputs, **kwargs), *inputs)
    )
    rng = np.random.default_rng(1)
    flat = {path: rng.normal(size=leaf.shape) for path, leaf in shapes.items()}
    flat = {
        path: np.abs(array) + 0.5
        if path[-1] == "var"
        else array / np.sqrt(max(1, array.size // array.shape[-1]))
        for path, array in flat.items()
    }
    return zoo.Model(module, unflatten_dict(flat))


def call(model, *inputs, **kwargs):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda model, *inputs: model(*inputs, **kwargs))(model, *inputs))


def folded(model, *inputs, **kwargs):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, zoo.fold_batch_norm(model, *inputs, **kwargs))


def check(model, *inputs, norms):
    """The folded model, after checking that it computes the same without as many batch norms."""
    found = folded(model, *inputs)
    assert len(found.module.pairs) == norms
    assert difference(call(found, *inputs), call(model, *inputs)) <= 1e-12
    return found


# Every stem and every shortcut with both kinds of blocks.
VARIANTS = [
    *((10, "imagenet", "conv"), (10, "cifar", "pad"), (10, "deep", "pool"), (10, "deep_tiered", "conv")),
    *((14, "imagenet", "pool"), (14, "cifar", "conv"), (14, "deep", "pad"), (14, "deep_tiered", "pool")),
]


@pytest.mark.parametrize(("depth", "stem", "shortcut"), VARIANTS, ids=str)
def test_every_kind_of_resnet_computes_the_same(depth, stem, shortcut):
    groups = {"groups": 2, "width_per_group": 16} if depth == 14 else {}
    model = randomised(resnet.create(**TINY, depth=depth, stem=stem, shortcut=shortcut, **groups), X)
    norms = sum(path[-1] == "var" for path in flatten_dict(model.variables))
    found = check(model, X, norms=norms)
    assert set(found.variables) == {"params", ORIGINALS}


class Depthwise(nn.Module):
    def setup(self):
        self.conv, self.norm = conv(3, 3, groups=3, dtype=None), BatchNorm()

    def __call__(self, x, train=False):
        return self.norm(self.conv(x), use_running_average=not train)


def test_a_depthwise_convolution_is_folded():
    check(randomised(Depthwise(), X), X, norms=1)


def test_no_batch_norm_is_left_in_the_program():
    """Nor is any other array than the layers' needed."""
    model = randomised(resnet.create(**TINY, depth=14), X)
    texts = [
        jax.jit(lambda model, x: model(x)).lower(each, X).as_text() for each in (model, folded(model, X))
    ]
    assert ["rsqrt" in text for text in texts] == [True, False]


class Small(nn.Module):
    """A compact module, one convolution with a bias, a norm without its own scale, a dense layer's norm."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(not train, use_scale=False)(x))
        x = nn.Conv(6, (3, 3), strides=2, use_bias=False)(x)
        x = nn.relu(BatchNorm(epsilon=0.1)(x, not train)).mean((1, 2))
        return nn.BatchNorm(use_running_average=not train, use_bias=False)(nn.Dense(7)(x))


def test_a_compact_module_with_biases_and_a_dense_layer_computes_the_same():
    check(randomised(Small(), X), X, norms=3)


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_a_transposed_convolution_is_folded_along_its_outputs(transpose_kernel, use_bias):
    module = nn.Sequential(
        (
            nn.ConvTranspose(5, (3, 2), (2, 2), transpose_kernel=transpose_kernel, use_bias=use_bias),
            nn.BatchNorm(use_running_average=True),
        )
    )
    check(randomised(module, X), X, norms=1)


class Around(nn.Module):
    """Calls a module of its own twice, and has layers beside it."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (1, 1), name="before")(x)
        return self.inner(x) + self.inner(2 * x)


def test_a_folded_module_works_inside_another_and_can_be_initialised():
    model = randomised(Small(), X)
    found = folded(model, X)
    outer, whole = Around(found.module), Around(model.module)
    variables = jax.eval_shape(outer.init, jax.random.key(0), X)
    assert jax.tree.structure(variables["params"]["inner"]) == jax.tree.structure(found.variables["params"])
    before = randomised(whole, X).variables["params"]["before"]
    new = zoo.Model(outer, {"params": {"before": before, "inner": found.variables["params"]}})
    old = zoo.Model(
        whole,
        {
            "params": {"before": before, "inner": model.variables["params"]},
            "batch_stats": {"inner": model.variables["batch_stats"]},
        },
    )
    assert difference(call(new, X), call(old, X)) <= 1e-12


def test_unfolding_gives_the_very_arrays_back():
    tiny = randomised(Small(), X)
    model = zoo.Model(tiny.module, tiny.variables, zoo.info("resnet18"))
    found = zoo.fold_batch_norm(model, X)
    again = zoo.unfold_batch_norm(found)
    assert again.module == model.module
    assert again.entry == found.entry == model.entry
    assert flatten_dict(again.variables).keys() == flatten_dict(model.variables).keys()
    for path, array in flatten_dict(model.variables).items():
        assert flatten_dict(again.variables)[path] is array


def test_the_originals_may_be_dropped_for_good():
    model = randomised(Small(), X)
    found = folded(model, X)
    light = found.replace(variables={"params": found.variables["params"]})
    np.testing.assert_array_equal(call(light, X), call(found, X))
    with pytest.raises(zoo.ZooError, match="Folded with params cannot be unfolded; expected what"):
        zoo.unfold_batch_norm(light)
    with pytest.raises(zoo.ZooError, match="Small with batch_stats, params cannot"):
        zoo.unfold_batch_norm(model)


def test_a_model_of_a_narrow_dtype_keeps_it():
    model = randomised(Small(), X)
    model = model.replace(
        variables=jax.tree.map(lambda array: jnp.asarray(array, jnp.bfloat16), model.variables)
    )
    found = zoo.fold_batch_norm(model, X)
    assert {leaf.dtype for leaf in jax.tree.leaves(found.variables["params"])} == {jnp.dtype("bfloat16")}
    assert call(found, X).dtype == call(model, X).dtype


def test_it_folds_inside_jit():
    model = randomised(Small(), X)
    with jax.enable_x64(True):
        inside = jax.jit(lambda model, x: zoo.fold_batch_norm(model, x)(x))(model, X)
        assert difference(np.asarray(inside), call(model, X)) <= 1e-12


def test_a_folded_model_refuses_to_train():
    found = folded(randomised(Small(), X), X)
    with pytest.raises(
        zoo.ZooError, match=r"^BatchNorm_0 is called in training mode, and batch norms are folded"
    ):
        found(X, train=True, mutable=["batch_stats"])


def test_a_folded_model_is_not_saved(tmp_path):
    found = folded(randomised(Small(), X), X)
    with pytest.raises(zoo.ZooError, match=r"save what zoo.unfold_batch_norm gives, and fold after loading"):
        zoo.save(found, tmp_path / "folded")


class Odd(nn.Module):
    """A convolution and its batch norm, which something comes between."""

    kind: str

    @nn.compact
    def __call__(self, x, train=False):
        conv = {"subclass": Doubled, "stranger": Grouped}.get(self.kind, nn.Conv)(3, (1, 1), name="conv")
        norm = nn.BatchNorm(
            use_running_average=not train,
            axis=1 if self.kind == "axis" else -1,
            dtype=jnp.float32 if self.kind == "dtype" else None,
            name="bn",
        )
        y = conv(x)
        if self.kind == "relu":
            return norm(nn.relu(y))
        if self.kind == "elsewhere":
            return norm(y) + y
        if self.kind == "returned":
            return norm(y), y
        if self.kind == "read":
            return norm(y) * conv.variables["params"]["kernel"].sum()
        if self.kind == "twice":
            return norm(conv(y))
        if self.kind == "norm twice":
            return norm(norm(y))
        return norm(y)


class Doubled(nn.Conv):
    """Twice the convolution, which the table of layers cannot know."""

    def __call__(self, x):
        return 2 * super().__call__(x)


class Grouped(nn.Conv):
    """The same arrays, by a function of its own."""

    conv_general_dilated: object = jax.lax.conv_general_dilated


class Loop(nn.Module):
    """Two blocks in a scan: their arrays are stacked."""

    @nn.compact
    def __call__(self, x):
        blocks = nn.scan(
            lambda block, x, _: (block(x), None),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=2,
        )
        return blocks(Odd("", name="block"), x, None)[0]


OBSTACLES = {
    "relu": (Odd("relu"), "bn takes no output of Conv, ConvTranspose, Dense"),
    "elsewhere": (Odd("elsewhere"), "bn follows conv, whose output goes elsewhere, too"),
    "returned": (Odd("returned"), "bn follows conv, whose output goes elsewhere, too"),
    "read": (Odd("read"), "bn follows conv, which has arrays that are read elsewhere, too"),
    "twice": (Odd("twice"), "bn follows conv, which is called 2 times"),
    "norm twice": (Odd("norm twice"), "bn is called 2 times"),
    "axis": (Odd("axis"), "bn has axis=1, not the last"),
    "dtype": (Odd("dtype"), "bn turns float64 into float32"),
    "subclass": (Odd("subclass"), "bn takes no output of Conv, ConvTranspose, Dense"),
    "scan": (Loop(), "block/bn is inside a lifted transform"),
    "remat": (nn.remat(Odd)(""), "bn is inside a lifted transform"),
    "weight norm": (
        nn.Sequential([nn.WeightNorm(nn.Conv(3, (1, 1))), nn.BatchNorm(use_running_average=True)]),
        "which is inside a lifted transform",
    ),
    "first": (
        nn.Sequential([nn.BatchNorm(use_running_average=True), nn.Conv(3, (1, 1))]),
        "layers_0 takes no output of Conv, ConvTranspose, Dense",
    ),
}


@pytest.mark.parametrize(("module", "message"), OBSTACLES.values(), ids=OBSTACLES)
def test_a_batch_norm_that_cannot_be_folded_is_refused(module, message):
    with pytest.raises(zoo.ZooError, match="has batch norms that cannot be folded:\n") as caught:
        folded(randomised(module, X), X)
    assert message in str(caught.value)


def test_without_batch_norms_there_is_nothing_to_fold():
    with pytest.raises(zoo.ZooError, match="MLP calls no batch norm; there is nothing to fold"):
        zoo.fold_batch_norm(zoo.load("mlp_mnist"))


def test_inputs_of_a_module_of_ones_own_have_to_be_given():
    with pytest.raises(zoo.ZooError, match="pass example inputs of Small, or their shapes"):
        zoo.fold_batch_norm(randomised(Small(), X))


def test_training_calls_are_not_folded():
    with pytest.raises(zoo.ZooError, match="BatchNorm_0 is called in training mode"):
        folded(randomised(Small(), X), X, kwargs={"train": True})


class PreActivation(nn.Module):
    """The first norm comes before any convolution; the convolution's output is a result if asked for."""

    @nn.compact
    def __call__(self, x, features=False):
        x = nn.relu(nn.BatchNorm(use_running_average=True, name="bn1")(x))
        y = nn.Conv(4, (3, 3), name="conv")(x)
        return y if features else nn.BatchNorm(use_running_average=True, name="bn2")(y)


def test_if_asked_those_that_cannot_be_folded_stay():
    model = randomised(PreActivation(), X)
    with pytest.raises(
        zoo.ZooError, match="cannot be folded; partly=True leaves these as they are:\n  bn1 takes"
    ):
        folded(model, X)
    found = folded(model, X, partly=True)
    assert set(found.variables["batch_stats"]) == {"bn1"}
    assert difference(call(found, X), call(model, X)) <= 1e-12
    again = zoo.unfold_batch_norm(found)
    assert jax.tree.structure(again.variables) == jax.tree.structure(model.variables)


def test_a_call_that_takes_another_way_is_refused():
    found = folded(randomised(PreActivation(), X), X, partly=True)
    with pytest.raises(zoo.ZooError, match="a batch norm is folded into conv, but not called here"):
        call(found, X, features=True)


class Branching(nn.Module):
    """Adds the convolution's own output if asked to."""

    @nn.compact
    def __call__(self, x, both=False, norm=True):
        y = nn.Conv(4, (3, 3), name="conv")(x)
        z = nn.BatchNorm(use_running_average=True, name="bn")(y if norm else jnp.zeros_like(x))
        return z + y if both else z


def test_a_folded_layers_output_goes_nowhere_else():
    found = folded(randomised(Branching(), X), X)
    with pytest.raises(TypeError, match="_Pending"):
        call(found, X, both=True)
    with pytest.raises(zoo.ZooError, match="bn is folded into conv, but takes"):
        call(found, X, norm=False)
