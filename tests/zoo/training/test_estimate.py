"""Estimates of the memory of a step, against XLA's of the compiled one; and the guide's table."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from zoo import gpt2, resnet
from zoo._registry.entry import Input
from zoo._variables import init
from zoo._variables.tree import unflatten
from zoo.training import Examples, find_recipe
from zoo.training.estimate import Sizes, sizes
from zoo.training.optimizer import optimizer
from zoo.training.tasks import TASKS, as_input

TEXT, IMAGES = find_recipe("gpt_shakespeare"), find_recipe("resnet20_cifar10")
NOTHING = {"dropout": 0.0, "attention_dropout": 0.0, "embedding_dropout": 0.0}
TOKENS = (Input("input_ids", (1, 8), "int32"),)
CASES = {
    "gpt2": (
        gpt2.create(vocab_size=512, max_length=128, width=128, depth=2, heads=4, **NOTHING),
        TOKENS,
        TEXT,
        Examples(*2 * [jax.ShapeDtypeStruct((8, 128), jnp.int32)]),
    ),
    "resnet": (
        resnet.create(depth=10, channels=16, stem="cifar", num_classes=10),
        (Input("images", (1, 32, 32, 3), "float32"),),
        IMAGES,
        Examples(jax.ShapeDtypeStruct((16, 32, 32, 3), jnp.uint8), jax.ShapeDtypeStruct((16,), jnp.int32)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sizes_are_those_of_the_compiled_step(case):
    module, inputs, recipe, examples = CASES[case]
    found = sizes(module, inputs, recipe, examples)
    variables = unflatten(init.shapes(module, inputs))
    made = optimizer(recipe, 1)
    state = jax.eval_shape(made.init, variables["params"])

    def gradients(variables, state, examples):
        def loss(params):
            whole, known = {**variables, "params": params}, as_input(examples, None)
            key = jax.random.key(0)
            return TASKS[recipe.task].measure(module, whole, known, key, recipe, train=True)[0]["loss"].mean()

        return jax.grad(loss)(variables["params"]), state

    compiled = jax.jit(gradients, keep_unused=True).lower(variables, state, examples).compile()
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    batch = sum(leaf.size * leaf.dtype.itemsize for leaf in examples)
    print(f"{case}: {found}\n{memory}\n{cost['flops']:,.0f}")
    assert memory.argument_size_in_bytes == found.variables + found.optimizer + batch
    # The results' table of addresses is counted, too.
    leaves = len(jax.tree.leaves((variables["params"], state)))
    assert memory.output_size_in_bytes == found.gradients + found.optimizer + 8 * leaves
    # XLA computes anew what it can add to another loop, and needs room to work in.
    assert 0.5 < memory.temp_size_in_bytes / found.activations < 1.2
    # It counts other operations, too, and of convolutions none with the zeros of padding and strides.
    assert (0.7 if case == "resnet" else 1) <= cost["flops"] / found.operations < 1.1


# Name -> keywords of gpt2.create.
TABLE = {
    "GPT-2": {"width": 768, "depth": 12, "heads": 12},
    "GPT-2 XL": {"width": 1600, "depth": 48, "heads": 25},
    "a GPT-2 of 7 B": {"width": 4096, "depth": 34, "heads": 32},
    "a GPT-2 of 70 B": {"width": 8192, "depth": 86, "heads": 64},
}


def of_gpt2(depth: int, **config: Any) -> Sizes:
    """Returns sizes of a step on one text of 1,024 tokens; the blocks are alike, so two depths give all."""
    text = Examples(*2 * [jax.ShapeDtypeStruct((1, 1024), jnp.int32)])
    one, two = (sizes(gpt2.create(depth=each, **config), TOKENS, TEXT, text) for each in (1, 2))
    return one.deeper(two, depth - 1)


def row(name: str) -> str:
    step, remat = of_gpt2(**TABLE[name]), of_gpt2(**TABLE[name], remat=True)
    of_64 = (step.state // 64, step.moved(64, fsdp=False), step.moved(64, fsdp=True))
    every = (step.variables, step.state, step.activations, remat.activations, *of_64)
    shown = " | ".join(f"{size / 1e9:,.1f}" for size in every)
    return f"| {name} | {step.params:,} | {shown} | {step.operations / 1e12:,.1f} |"


def figures(row: str) -> tuple[float, list[str]]:
    """The activations, of which newer versions of JAX keep fewer; and all other cells of a row."""
    cells = row.split(" | ")
    return float(cells.pop(4)), cells


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_guide_is_computed(name):
    guide = (Path(__file__).parents[3] / "docs" / "scale.md").read_text().splitlines()
    (shown,) = [line for line in guide if line.startswith(f"| {name} |")]
    activations, others = figures(row(name))
    expected, exactly = figures(shown)
    assert activations == pytest.approx(expected, rel=0.1)
    assert others == exactly


def test_the_blocks_of_a_deeper_model_are_alike():
    config = {"width": 32, "heads": 2, "vocab_size": 64, **NOTHING}
    text = Examples(*2 * [jax.ShapeDtypeStruct((1, 16), jnp.int32)])
    five = sizes(gpt2.create(depth=5, max_length=1024, **config), TOKENS, TEXT, text)
    one, two = (
        sizes(gpt2.create(depth=each, max_length=1024, **config), TOKENS, TEXT, text) for each in (1, 2)
    )
    assert one.deeper(two, 4) == five


def test_the_former_name_of_the_module_gives_the_same_function():
    from zoo.training import sizes as former

    assert former.sizes is sizes
