"""Weights of eight and four bits: their numbers, and models that have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo._variables.quantized import Precision, QuantizedArray, is_quantized, quantize
from zoo._variables.tree import flatten

IDS = np.random.default_rng(0).integers(0, 65, (2, 9))


@pytest.fixture(scope="module")
def gpt():
    return zoo.load("gpt_shakespeare", pretrained=True)


@pytest.fixture(scope="module")
def small(gpt):
    return zoo.quantize(gpt)


@jax.jit
def jitted(model):
    return model(IDS).logits


def logits(model):
    # Without its record, which differs, a model of the same arrays is compiled once.
    return np.asarray(jitted(zoo.Model(model.module, model.variables)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("name", "axis"), [("kernel", -2), ("embedding", -1)])
def test_each_number_is_off_by_half_a_step_at_most(dtype, name, axis):
    array = jnp.asarray(np.random.default_rng(0).normal(size=(3, 40, 20)), dtype).at[0, :, 3].set(0)
    array = array if name == "kernel" else array[0]
    made = quantize(f"params/a/{name}", array, Precision())
    assert (made.shape, made.dtype, made.values.dtype) == (array.shape, array.dtype, np.int8)
    wide, steps = np.asarray(array, "f8"), np.asarray(made.scale, "f8")
    exact = np.asarray(made.values, "f8") * steps
    # Steps of 16 bits are rounded themselves: the largest number is then off by more.
    rounding = 127 * float(jnp.finfo(dtype).eps)
    assert (np.abs(exact - wide) <= steps * (0.5 + rounding)).all()
    assert np.abs(wide).max(axis, keepdims=True).shape == steps.shape
    assert np.array_equal(np.asarray(made), np.asarray(jnp.asarray(made)))


@pytest.mark.parametrize(("name", "axis", "group"), [("kernel", -2, 128), ("embedding", -1, 32)])
def test_of_four_bits_each_number_is_off_by_half_a_step_of_its_group_at_most(name, axis, group):
    dtype = jnp.bfloat16
    array = jnp.asarray(np.random.default_rng(0).normal(size=(3, 256, 192)), dtype).at[0, :64, 3].set(0)
    array = array if name == "kernel" else array[0]
    made = quantize(f"params/a/{name}", array, Precision(4, group, embeddings=True))
    assert (made.shape, made.dtype, made.size) == (array.shape, array.dtype, array.size)
    assert made.nbytes == array.size // 2 + array.size // group * array.dtype.itemsize
    steps = np.repeat(np.asarray(made.scale, "f8"), group, axis)
    wide, exact = np.asarray(array, "f8"), np.asarray(made).astype("f8")
    rounding = 7 * float(jnp.finfo(dtype).eps)
    assert (np.abs(exact - wide) <= steps * (0.5 + rounding)).all()
    assert np.array_equal(np.asarray(made), np.asarray(jax.jit(jnp.asarray)(made)))


def test_groups_that_do_not_divide_a_kernel_are_smaller_or_it_gets_eight_bits():
    made = quantize("params/a/kernel", np.ones((48, 8), "f4"), Precision(4, 32))
    assert made.scale.shape == (3, 8)
    assert isinstance(quantize("params/a/kernel", np.ones((40, 8), "f4"), Precision(4, 32)), QuantizedArray)
    table = np.ones((48, 48), "f4")
    assert quantize("params/a/embedding", table, Precision(4, 32, embeddings=False)) is table


def test_other_arrays_stay():
    for path, shape in (
        ("params/a/bias", (40,)),
        ("params/a/kernel", (3, 3, 1, 40)),
        ("batch_stats/a/kernel", (40, 40)),
    ):
        array = np.ones(shape, "f4")
        assert quantize(path, array, Precision()) is array
        assert quantize(path, array, Precision(4)) is array


def test_a_model_takes_a_quarter_of_the_bytes_and_gives_nearly_its_outputs(gpt, small):
    before, after = (sum(leaf.nbytes for leaf in jax.tree.leaves(each.variables)) for each in (gpt, small))
    assert after < 0.28 * before
    wanted, found = logits(gpt), logits(small)
    assert 0 < np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()
    assert small.module == gpt.module
    assert (small.num_params, small.entry.metrics, small.entry.weights) == (gpt.num_params, {}, None)
    assert small.summary().splitlines()[-1].endswith(f"{after:,}")


def test_outputs_are_those_of_the_numbers_that_it_stands_for(small):
    plain = small.replace(variables=jax.tree.map(np.asarray, small.variables, is_leaf=is_quantized))
    np.testing.assert_allclose(logits(small), logits(plain), rtol=1e-5, atol=1e-5)
    assert zoo.generate(small, "To be", max_new_tokens=2)[0].startswith("To be")


def test_saved_and_loaded_it_is_the_same(small, tmp_path):
    zoo.save(small, tmp_path / "small")
    found = zoo.load(tmp_path / "small", pretrained=True)
    assert jax.tree.structure(found.variables) == jax.tree.structure(small.variables)
    jax.tree.map(np.testing.assert_array_equal, found.variables, small.variables)
    assert found.num_params == small.num_params
    half = zoo.load(tmp_path / "small", pretrained=True, param_dtype="bfloat16")
    kernel = flatten(half.variables)["params/h_0/attn/c_attn/kernel"]
    assert isinstance(kernel, QuantizedArray)
    assert kernel.dtype == jnp.bfloat16
    assert {tensor.dtype for tensor in zoo.to_torch(small).values()} == {np.dtype("f4")}
    looped = zoo.load(tmp_path / "small", pretrained=True, scan=True)
    np.testing.assert_allclose(logits(looped), logits(small), rtol=1e-5, atol=1e-5)


def test_of_four_bits_a_model_is_smaller_yet_and_saved_whole(gpt, tmp_path):
    tiny = zoo.quantize(gpt, bits=4)
    kernels = {path: array for path, array in flatten(gpt.variables).items() if path.endswith("/kernel")}
    found = flatten(tiny.variables)
    assert sum(found[path].nbytes for path in kernels) < 0.16 * sum(each.nbytes for each in kernels.values())
    assert all(found[path] is array for path, array in flatten(gpt.variables).items() if path not in kernels)
    wanted, near = logits(gpt), logits(tiny)
    assert 0 < np.abs(near - wanted).max() < 0.2 * np.abs(wanted).max()
    zoo.save(tiny, tmp_path / "tiny")
    again = zoo.load(tmp_path / "tiny", pretrained=True)
    assert jax.tree.structure(again.variables) == jax.tree.structure(tiny.variables)
    jax.tree.map(np.testing.assert_array_equal, again.variables, tiny.variables)
    plain = again.replace(variables=jax.tree.map(np.asarray, again.variables, is_leaf=is_quantized))
    np.testing.assert_allclose(near, logits(plain), rtol=1e-5, atol=1e-5)  # compiled for `gpt` already
    assert "int4" in again.summary()


def test_options_out_of_range_are_refused(gpt):
    with pytest.raises(zoo.ZooError, match="bits=5: weights have 8 bits, or 4"):
        zoo.quantize(gpt, bits=5)
    with pytest.raises(zoo.ZooError, match="group=31: take an even number from 16 on"):
        zoo.quantize(gpt, bits=4, group=31)


def test_what_it_cannot_be_used_for_is_refused(small, tmp_path):
    with pytest.raises(zoo.ZooError, match="has no weights that eight bits would make smaller"):
        zoo.quantize(small)
    zoo.save(small, tmp_path / "small")
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(zoo.ZooError, match=r"is stored as int8; load the model without sharding="):
        zoo.load(tmp_path / "small", pretrained=True, sharding=place)
    with pytest.raises(zoo.ZooError, match="which NNX's layers do not take"):
        zoo.to_nnx(small)


def test_steps_without_their_numbers_are_refused(small, tmp_path):
    from safetensors.numpy import load_file, save_file

    zoo.save(small, tmp_path / "small")
    path = tmp_path / "small" / "model.safetensors"
    tensors = load_file(path)
    del tensors["params/h_0/attn/c_attn/kernel.scale"]
    save_file(tensors, path)
    config = tmp_path / "small" / "config.json"
    import hashlib
    import json

    said = json.loads(config.read_text())
    content = path.read_bytes()
    said["weights"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    config.write_text(json.dumps(said))
    with pytest.raises(zoo.WeightsError, match=r"kernel.int8 is no int8 array with the steps of its columns"):
        zoo.load(tmp_path / "small", pretrained=True)
