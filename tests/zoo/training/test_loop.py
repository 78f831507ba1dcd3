from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo.training import Examples, TrainState, load_split, loop
from zoo.training.loop import ORDER, compile_epoch, make_step
from zoo.training.optimizer import optimizer


class Normalised(nn.Module):
    """A model with another collection and with dropout."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(x))


MODEL = zoo.Model(Normalised(), {})


def started(module, recipe, variables=None) -> TrainState:
    variables = variables or module.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    return TrainState.create(variables, optimizer(recipe, 18), average=recipe.average > 0, seed=recipe.seed)


def assert_equal(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_an_epoch_is_the_same_as_its_updates_one_by_one(data, dataset, recipe):
    train = load_split(dataset, "train", data)
    state = expected = started(Normalised(), recipe)
    step = jax.jit(make_step(MODEL, recipe, optimizer(recipe, 18)))
    order = np.asarray(jax.random.permutation(state.random(ORDER, state.step), 96)).reshape(6, 16)
    assert sorted(order.flat) == list(range(96))
    losses = []
    for rows in order:
        expected, measures = step(expected, Examples(*(array[rows] for array in train)))
        losses.append(measures["loss"])
    state, measures = compile_epoch(MODEL, recipe, 96)(state, jax.device_put(train))
    assert int(state.step) == 6
    np.testing.assert_allclose(measures["loss"], losses, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), state, expected)


def test_the_parts_in_which_an_epoch_runs_change_no_bit(data, dataset, recipe, monkeypatch):
    train = jax.device_put(load_split(dataset, "train", data))
    ends, parts = [], []
    for seconds in (0.0, 100.0):
        monkeypatch.setattr(loop, "PART", seconds)
        seen = []
        epoch = compile_epoch(MODEL, recipe, 96)
        ends.append(
            epoch(started(Normalised(), recipe), train, lambda done, measures, to=seen: to.append(done))
        )
        parts.append(seen)
    assert parts == [[1, 2, 3, 4, 5, 6], [1, 6]]
    assert_equal(*ends)


def test_two_epochs_see_the_examples_in_different_order(recipe):
    state = started(Normalised(), recipe)
    orders = [jax.random.permutation(state.random(ORDER, jnp.int32(step)), 96) for step in (0, 6)]
    assert not np.array_equal(*orders)


def test_bfloat16_is_for_what_an_update_computes(data, dataset, recipe):
    model = zoo.load("cnn_mnist", channels=(4, 8), hidden=16)
    batch = Examples(*(array[:16] for array in load_split(dataset, "train", data)))
    plain = replace(recipe, optimizer="sgd", learning_rate=1.0, warmup_steps=0, weight_decay=0.0)
    ended = {}
    for dtype in ("float32", "bfloat16"):
        made = replace(plain, dtype=dtype)
        state, measures = jax.jit(make_step(model, made, optimizer(made, 18)))(
            started(model.module, made, model.variables), batch
        )
        assert {leaf.dtype for leaf in jax.tree.leaves((state.variables, measures))} == {np.dtype("float32")}
        ended[dtype] = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state.variables)])
    start = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(model.variables)])
    full, half = (ended[dtype] - start for dtype in ended)
    assert not np.array_equal(full, half)
    assert full @ half > 0.95 * np.linalg.norm(full) * np.linalg.norm(half)


def test_micro_batches_have_the_gradients_of_their_batch(data, dataset, recipe):
    model = zoo.load("mlp_mnist", hidden=(16,))
    train = load_split(dataset, "train", data)
    recipe = replace(recipe, shift=0)
    ends = {}
    for parts in (1, 4):
        split = replace(recipe, micro_batches=parts)
        run = compile_epoch(model, split, 96)
        ends[parts] = run(started(model.module, split, model.variables), jax.device_put(train))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ends[1], ends[4])


def test_micro_batches_pass_their_running_statistics_on(data, dataset, recipe):
    train = load_split(dataset, "train", data)
    recipe = replace(recipe, shift=0, flip=0.0, batch_size=8, micro_batches=2)
    state = started(Normalised(), recipe)
    batch = Examples(*(array[:8] for array in train))
    after, _ = jax.jit(make_step(MODEL, recipe, optimizer(recipe, 18)))(state, batch)
    pixels = batch.inputs.reshape(8, -1) / 255
    expected = 0.5 * (0.5 * pixels[:4].mean(0)) + 0.5 * pixels[4:].mean(0)
    np.testing.assert_allclose(
        after.variables["batch_stats"]["BatchNorm_0"]["mean"], expected, rtol=1e-4, atol=1e-6
    )


def test_the_average_of_the_params_follows_them_and_forgets_the_first(data, dataset, recipe):
    train = load_split(dataset, "train", data)
    recipe = replace(recipe, average=0.5, warmup_steps=0)
    state = started(Normalised(), recipe)
    step = jax.jit(make_step(MODEL, recipe, optimizer(recipe, 18)))
    average = np.asarray(state.variables["params"]["Dense_0"]["kernel"])
    for update in range(12):
        state, _ = step(state, Examples(*(array[:16] for array in train)))
        keep = min(0.5, (1 + update) / (10 + update))
        average = keep * average + (1 - keep) * np.asarray(state.variables["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(state.result["params"]["Dense_0"]["kernel"], average, rtol=1e-5, atol=1e-7)
    assert_equal(state.result["batch_stats"], state.variables["batch_stats"])


def test_without_an_average_the_params_are_the_result(recipe):
    state = started(Normalised(), replace(recipe, average=0.0))
    assert state.average is None
    assert_equal(state.result, state.variables)


@pytest.mark.parametrize("shift", [0, 2])
def test_a_state_alone_decides_what_follows(data, dataset, recipe, shift):
    train = jax.device_put(load_split(dataset, "train", data))
    recipe = replace(recipe, shift=shift)
    run = compile_epoch(MODEL, recipe, 96)
    middle, _ = run(started(Normalised(), recipe), train)
    rebuilt = jax.tree.map(lambda array: jnp.asarray(np.array(array)), middle)
    assert_equal(run(middle, train), run(rebuilt, train))
    other, _ = run(started(Normalised(), replace(recipe, seed=1)), train)
    assert not np.array_equal(
        other.variables["params"]["Dense_0"]["kernel"], middle.variables["params"]["Dense_0"]["kernel"]
    )
