from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from zoo.training.optimizer import learning_rate, optimizer


@pytest.mark.parametrize(("decay", "halfway"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_the_learning_rate_rises_to_its_peak_and_decays_over_the_run(recipe, decay, halfway):
    schedule = learning_rate(replace(recipe, learning_rate=1.0, warmup_steps=10, decay=decay), updates=110)
    steps = np.array([float(schedule(step)) for step in (0, 5, 10, 60, 110)])
    end = 1.0 if decay == "constant" else 0.0
    np.testing.assert_allclose(steps, [0.0, 0.5, 1.0, halfway, end], atol=1e-6)


def test_without_warmup_the_first_update_has_the_peak(recipe):
    assert float(learning_rate(replace(recipe, warmup_steps=0), updates=10)(0)) == pytest.approx(1e-2)


def first_update(recipe, gradient: float) -> float:
    params = {"a": jnp.ones(4)}
    made = optimizer(replace(recipe, warmup_steps=0, weight_decay=0.0), updates=10)
    state = made.init(params)
    # Adam's first update does not show the gradient's size, its second after another gradient does.
    _, state = made.update({"a": jnp.full(4, gradient)}, state, params)
    updates, _ = made.update({"a": jnp.full(4, 0.5)}, state, params)
    return float(updates["a"][0])


def test_gradients_are_clipped_to_the_norm(recipe):
    # Of (100, 100, 100, 100) with norm 200 is left (0.5, 0.5, 0.5, 0.5) with norm 1.
    assert first_update(recipe, 100.0) == pytest.approx(first_update(recipe, 0.5))
    unclipped = replace(recipe, clip_norm=0.0)
    assert first_update(unclipped, 100.0) != pytest.approx(first_update(unclipped, 0.5))


def test_sgd_is_torchs_with_nesterov_momentum_and_weight_decay(recipe):
    sgd = replace(recipe, optimizer="sgd", clip_norm=0.0, warmup_steps=0, decay="constant", weight_decay=0.1)
    start, gradients = (
        np.array([1.0, -2.0], np.float32),
        np.array([[0.5, 0.1], [0.3, -0.2], [0.0, 0.7]], np.float32),
    )
    expected = torch.tensor(start, requires_grad=True)
    reference = torch.optim.SGD(
        [expected], lr=sgd.learning_rate, momentum=0.9, nesterov=True, weight_decay=0.1
    )
    params = jnp.asarray(start)
    made = optimizer(sgd, updates=10)
    state = made.init(params)
    for gradient in gradients:
        updates, state = made.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        expected.grad = torch.tensor(gradient)
        reference.step()
    np.testing.assert_allclose(params, expected.detach().numpy(), rtol=1e-6)
