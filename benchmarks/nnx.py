"""ResNet-50 and GPT-2 as NNX modules against linen's: a compiled forward pass, and a compiled training step.

    python benchmarks/nnx.py [--batch 4] [--rounds 7]

Weights are random, which costs the same as trained ones. Both libraries are in one process and take turns;
a step is SGD on all parameters, with running statistics and dropout. Seconds are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import _harness
import jax
import numpy as np
import optax
from flax import nnx

import zoo

RATE = 1e-3
Step = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    inputs = {
        "resnet50": rng.random((options.batch, 224, 224, 3), np.float32),
        "gpt2": rng.integers(50257, size=(options.batch, 64)),
    }
    rows = []
    for name, x in inputs.items():
        model = zoo.load(name)
        for what, steps in each_step(model, zoo.to_nnx(model), x).items():
            found = in_turns(steps, options.rounds)
            linen = found.pop("linen")
            for way, seconds in found.items():
                rows.append(
                    (f"{name}: {what}, {way}", f"{linen:.3f}", f"{seconds:.3f}", f"{seconds / linen:.2f}")
                )
    print(_harness.table((f"batches of {options.batch}", "linen s", "NNX s", "ratio"), rows))
    print(_harness.machine("jax", "flax"))


def in_turns(steps: Mapping[str, Step], rounds: int) -> dict[str, float]:
    """Returns median seconds; the first call of each compiles and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        jax.block_until_ready(step())
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step())
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def loss_of(outputs: Any) -> jax.Array:
    """Returns the mean cross-entropy with the first class, or token."""
    logits = getattr(outputs, "logits", outputs)
    return -jax.nn.log_softmax(logits)[..., 0].mean()


def each_step(model: zoo.Model, module: nnx.Module, x: np.ndarray) -> dict[str, dict[str, Step]]:
    """Returns what is measured, and the ways to do it."""
    forward, step = linen_steps(model, x)
    ours, compiled, trained = nnx_steps(module, x)
    return {
        "forward": {"linen": forward, "nnx.jit": ours, "jax.jit": compiled},
        "training step": {"linen": step, "nnx.jit": trained},
    }


def linen_steps(model: zoo.Model, x: np.ndarray) -> tuple[Step, Step]:
    """Returns the forward pass and the training step of a linen model."""
    optimizer = optax.sgd(RATE)
    forward = jax.jit(lambda variables, x: loss_of(model.module.apply(variables, x)))

    @jax.jit
    def train(variables: Any, state: Any, key: jax.Array, x: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            given = {**variables, "params": params}
            out, changed = model.module.apply(
                given, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
            )
            return loss_of(out), changed

        (value, changed), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, state = optimizer.update(gradients, state)
        return {"params": optax.apply_updates(variables["params"], updates), **changed}, state, value

    state = [dict(model.variables), optimizer.init(model.variables["params"])]

    def step() -> jax.Array:
        state[0], state[1], value = train(state[0], state[1], jax.random.key(0), x)
        return value

    return lambda: forward(model.variables, x), step


def nnx_steps(module: nnx.Module, x: np.ndarray) -> tuple[Step, Step, Step]:
    """Returns the same of an NNX module, the forward pass in two ways."""
    trained = nnx.clone(module)
    trained.train()
    optimizer = nnx.Optimizer(trained, optax.sgd(RATE), wrt=nnx.Param)
    forward = nnx.jit(lambda module, x: loss_of(module(x)))

    @nnx.jit
    def train(module: nnx.Module, optimizer: nnx.Optimizer, x: jax.Array) -> jax.Array:
        value, gradients = nnx.value_and_grad(lambda module: loss_of(module(x)))(module)
        optimizer.update(module, gradients)
        return value

    # A module is a pytree; what a call changes in it is then lost, as nothing is in eval mode.
    plain = jax.jit(lambda module, x: loss_of(module(x)))
    return lambda: forward(module, x), lambda: plain(module, x), lambda: train(trained, optimizer, x)


if __name__ == "__main__":
    main()
