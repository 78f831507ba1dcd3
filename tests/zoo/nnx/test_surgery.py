"""The modules as NNX's own tools take them: looked at, taken apart, changed, trained, spread over devices."""

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import converters
import zoo

IDS = np.arange(10).reshape(2, 5)
IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
GPT2 = {"vocab_size": 50, "max_length": 16, "width": 12, "depth": 2, "heads": 3}


@pytest.fixture
def gpt2() -> nnx.Module:
    return zoo.load("gpt2", library="nnx", **GPT2).module


@pytest.fixture(scope="module")
def resnet() -> nnx.Module:
    return zoo.load("resnet20_cifar10", pretrained=True, library="nnx").module


def test_layers_are_nnx_modules_at_linens_paths(resnet, gpt2):
    modules = {"/".join(map(str, path)): module for path, module in nnx.iter_modules(resnet)}
    assert type(modules["layer1/0/conv1"]) is nnx.Conv
    assert isinstance(modules["layer3/2/bn2"], nnx.BatchNorm)
    assert type(modules["layer2/1"]).__name__ == "BasicBlock"
    assert isinstance(gpt2.h[1].attn.c_attn, nnx.Linear)
    assert isinstance(gpt2.h[0].mlp.dropout, nnx.Dropout)
    assert (resnet.num_classes, gpt2.settings.width) == (10, 12)
    with pytest.raises(AttributeError, match="'ResNet' object has no attribute 'stem_'"):
        _ = resnet.stem_
    with pytest.raises(AttributeError, match="'stride' is a field of linen's BasicBlock"):
        resnet.layer1[0].stride = 2


def test_tabulate_lists_every_layer():
    sizes = {"vocab_size": 50, "max_length": 16, "width": 12, "depth": 2, "heads": 3, "feed_forward": 20}
    bert = zoo.load("bert-base-uncased", library="nnx", **sizes).module
    table = nnx.tabulate(bert, IDS, console_kwargs={"force_terminal": False, "width": 200})
    for path in ("embeddings/word_embeddings", "encoder/layer/0/attention/self/query", "encoder/layer/1"):
        assert f" {path} " in table
    assert "kernel: float32[12,12]" in table


def test_display_shows_modules_and_arrays(resnet, capsys):
    nnx.display(resnet.layer1[0])
    shown = capsys.readouterr().out
    assert "BasicBlock" in shown
    assert "Conv(" in shown


def test_a_part_is_called_alone_and_gives_a_linen_model_back(resnet):
    block = resnet.layer1[0]
    x = np.random.default_rng(1).random((2, 8, 8, 16), np.float32)
    part = zoo.from_nnx(block)
    np.testing.assert_array_equal(block(x), part(x))
    assert type(part.module).__name__ == "BasicBlock"
    compiled = nnx.jit(lambda block, x: block(x))
    np.testing.assert_allclose(compiled(block, x), block(x), atol=1e-5)


def test_a_backbone_is_split_off(resnet):
    features = zoo.features("resnet20_cifar10", IMAGES, layers="layer3_2")["layer3_2"]
    backbone = nnx.clone(resnet)
    backbone.fc = lambda x: x
    np.testing.assert_allclose(backbone(IMAGES), features.mean((1, 2)), atol=1e-6)


def test_a_replaced_head_takes_part_and_is_saved(resnet, tmp_path):
    mine = nnx.clone(resnet)
    mine.fc = nnx.Linear(64, 37, rngs=nnx.Rngs(0))
    assert mine(IMAGES).shape == (2, 37)
    model = zoo.from_nnx(mine)
    assert model.module.num_classes == 37
    assert not model.entry.metrics
    zoo.save(mine, tmp_path / "mine")
    again = zoo.load(tmp_path / "mine", pretrained=True)
    np.testing.assert_array_equal(again(IMAGES), mine(IMAGES))
    mine.fc = nnx.Linear(64, 37, use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(zoo.ZooError, match="no longer those of its linen module") as caught:
        zoo.save(mine, tmp_path / "other")
    assert "missing    params/fc/bias" in str(caught.value)


def test_lora_by_path_is_trained_alone(gpt2):
    before = gpt2(IDS).logits
    for path, module in [*nnx.iter_modules(gpt2)]:
        if path[-1:] == ("attn",):
            old = module.c_attn
            module.c_attn = nnx.LoRALinear(12, 36, lora_rank=2, rngs=nnx.Rngs(0))
            module.c_attn.kernel, module.c_attn.bias = old.kernel, old.bias
    np.testing.assert_allclose(gpt2(IDS).logits, before, atol=1e-6)  # the second matrix begins as zeros
    optimizer = nnx.Optimizer(gpt2, optax.sgd(1.0), wrt=nnx.LoRAParam)

    @nnx.jit
    def step(model: nnx.Module, optimizer: nnx.Optimizer) -> None:
        def loss(model: nnx.Module) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(model(IDS).logits, IDS).mean()

        optimizer.update(model, nnx.grad(loss, argnums=nnx.DiffState(0, nnx.LoRAParam))(model))

    kernel = gpt2.h[0].attn.c_attn.kernel.get_value()
    step(gpt2, optimizer)
    np.testing.assert_array_equal(gpt2.h[0].attn.c_attn.kernel.get_value(), kernel)
    assert np.abs(gpt2(IDS).logits - before).max() > 1e-4
    with pytest.raises(zoo.ZooError, match=r"left over  params/h_0/attn/c_attn/lora/lora_a"):
        zoo.from_nnx(gpt2)


def test_train_and_eval_set_the_mode(resnet):
    model = zoo.load("cnn_mnist", library="nnx").module
    trained = nnx.clone(resnet)
    linen = zoo.from_nnx(resnet)
    trained.train()
    expected, changed = linen(IMAGES, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(trained(IMAGES), expected, rtol=1e-5)
    np.testing.assert_allclose(trained.bn1.var[...], changed["batch_stats"]["bn1"]["var"], rtol=1e-5)
    trained.eval()
    assert not np.array_equal(trained(IMAGES), resnet(IMAGES))  # by the statistics
    np.testing.assert_array_equal(nnx.view(resnet, deterministic=True)(IMAGES), resnet(IMAGES))
    with pytest.raises(TypeError):
        model(IMAGES, trains=True)


def test_dropout_draws_from_the_modules_own_streams(gpt2):
    assert np.array_equal(gpt2(IDS).logits, gpt2(IDS).logits)
    gpt2.train()
    first, second = gpt2(IDS).logits, gpt2(IDS).logits
    assert not np.array_equal(first, second)
    again = zoo.load("gpt2", library="nnx", **GPT2).module
    np.testing.assert_array_equal(again(IDS, train=True).logits, first)


def test_dropout_acts_where_linens_does(gpt2):
    def kept(key: jax.Array, p: float, shape: Sequence[int], **_: object) -> np.ndarray:
        return np.random.default_rng(math.prod(shape)).random(tuple(shape)) < p

    with patch.object(jax.random, "bernoulli", kept):
        given = gpt2(IDS, train=True).logits
        linen = zoo.from_nnx(gpt2)(IDS, train=True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(given, linen.logits)
    assert np.abs(given - gpt2(IDS).logits).max() > 1e-3


SPREAD = """
import jax, numpy as np, zoo
from flax import nnx
from jax.sharding import Mesh

def load(**options):
    return zoo.load("cnn_mnist", library="nnx", **options)

abstract = nnx.eval_shape(lambda: load().module)
model = load(pretrained=True, sharding=zoo.fsdp(Mesh(np.array(jax.devices()), ("data",))))
shapes, arrays = (dict(nnx.to_flat_state(nnx.state(each))) for each in (abstract, model.module))
assert {path: leaf.shape for path, leaf in shapes.items()} == {p: leaf.shape for p, leaf in arrays.items()}
kernel = model.module.fc1.kernel.get_value()
assert len(kernel.sharding.device_set) == 8 and kernel.addressable_shards[0].data.size * 8 == kernel.size
x = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
graph, state = nnx.split(abstract)
filled = nnx.merge(graph, nnx.state(model.module))
given = nnx.jit(lambda module, x: module(x))(filled, x)
np.testing.assert_allclose(given, zoo.load("cnn_mnist", pretrained=True)(x), rtol=1e-4, atol=1e-4)
"""


def test_an_abstract_module_is_filled_with_arrays_spread_over_eight_devices():
    flags = {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    run = partial(subprocess.run, env={**os.environ, **flags}, cwd=Path(__file__).parents[3])
    run([sys.executable, "-c", SPREAD], check=True)


@pytest.mark.parametrize("dtypes", [{"dtype": "bfloat16"}, {"param_dtype": "bfloat16"}], ids=str)
@pytest.mark.parametrize("name", ["gpt_shakespeare", "resnet20_cifar10"])
def test_half_precision_rounds_as_linen_does(name, dtypes):
    x = IDS if name == "gpt_shakespeare" else IMAGES
    model = zoo.load(name, pretrained=True, **dtypes)
    ours, theirs = zoo.to_nnx(model)(x), model(x)
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_verbs_take_modules(resnet):
    gpt = zoo.load("gpt_shakespeare", pretrained=True, library="nnx")
    expected = zoo.generate("gpt_shakespeare", "ROMEO:", max_new_tokens=4)
    assert zoo.generate(gpt, "ROMEO:", max_new_tokens=4) == expected
    assert zoo.generate(gpt.module, "ROMEO:", max_new_tokens=4) == expected
    pictures = [*np.random.default_rng(2).integers(0, 256, (2, 32, 32, 3), np.uint8)]
    assert zoo.predict(resnet, pictures, top=1) == zoo.predict("resnet20_cifar10", pictures, top=1)
    assert [*zoo.features(resnet, IMAGES, layers="layer1")] == ["layer1_0", "layer1_1", "layer1_2"]
    assert zoo.info(gpt) == zoo.info("gpt_shakespeare")
    tensors, ours = zoo.to_torch("gpt_shakespeare"), converters.to_torch(gpt.module)
    assert ours.keys() == tensors.keys()
    assert all(np.array_equal(ours[name], tensors[name]) for name in tensors)


def test_a_model_of_nnx_is_a_pytree_with_the_facts_of_its_name(resnet):
    model = zoo.load("resnet20_cifar10", pretrained=True, library="nnx")
    assert repr(model) == repr(zoo.load("resnet20_cifar10", pretrained=True))
    compiled = jax.jit(lambda model, x: model(x))
    np.testing.assert_allclose(compiled(model, IMAGES), model(IMAGES), atol=1e-4)
    halved = jax.tree.map(lambda array: array / 2, model)
    np.testing.assert_array_equal(halved.module.fc.bias[...] * 2, model.module.fc.bias[...])
    zeros = model.replace(variables=jax.tree.map(np.zeros_like, model.variables))
    assert not np.any(zeros.module.fc.kernel[...])
    assert model.linen().summary() == model.summary()
    assert nnx.graphdef(model.module) == nnx.graphdef(resnet)  # one compilation for both
