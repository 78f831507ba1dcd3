"""Five updates of each family on one of eight devices and on a mesh of all: prints the differences as JSON."""

import json
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import zoo
from zoo.training import Examples, Recipe, TrainState, evaluate
from zoo.training.layout import ONE, Layout, layout
from zoo.training.loop import compile_epoch
from zoo.training.optimizer import optimizer
from zoo.training.tasks import TASKS, Task

COUNT, BATCH = 83, 16  # five updates; the shares are made equal
NOTHING = {"dropout": 0.0, "attention_dropout": 0.0}
SMALL = {"width": 16, "heads": 2, "feed_forward": 24}
RECIPE = Recipe(
    task="classification",
    dataset="none",
    epochs=1,
    batch_size=BATCH,
    learning_rate=1e-2,
    weight_decay=1e-2,
    clip_norm=1.0,
    average=0.9,
)
PHOTOS = replace(RECIPE, shift=1, flip=0.5, label_smoothing=0.1)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(2, 30, (COUNT, 2, 9)).astype(np.int32)
LABELS = RNG.integers(0, 10, COUNT).astype(np.int32)


def translation(module, variables, examples, key, recipe, *, train):
    """What no recipe does yet."""
    source, target = examples.inputs[:, 0], examples.inputs[:, 1]
    logits = module.apply(variables, source, target[:, :-1], train=train, rngs={"dropout": key})
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target[:, 1:]).mean(-1)
    return {"loss": loss}, {}


TASKS["translation"] = Task(translation, best="loss", highest=False)


def pixels(height: int, width: int, channels: int) -> Examples:
    return Examples(RNG.integers(0, 256, (COUNT, height, width, channels)).astype(np.uint8), LABELS)


# Family -> keywords of its `create`, recipe, examples.
CASES: dict[str, tuple[dict[str, Any], Recipe, Examples]] = {
    "mlp": ({"hidden": (16,)}, PHOTOS, pixels(6, 5, 1)),
    "cnn": ({"channels": (4, 8)}, replace(PHOTOS, micro_batches=2), pixels(12, 8, 3)),
    "resnet": (
        {"depth": 8, "channels": 4, "stem": "cifar", "shortcut": "pad", "num_classes": 10},
        replace(PHOTOS, optimizer="sgd"),
        pixels(10, 8, 3),
    ),
    "vae": (
        {"input_shape": (6, 5, 1), "encoder_features": (16,), "decoder_features": (16,), "latent_dim": 4},
        replace(RECIPE, task="vae"),
        pixels(6, 5, 1),
    ),
    "gpt2": (
        {"vocab_size": 30, "max_length": 9, "depth": 2, **SMALL, "dropout": 0.1},
        replace(RECIPE, task="next_token"),
        Examples(TOKENS[:, 0], TOKENS[:, 1]),
    ),
    "bert": (
        {"vocab_size": 30, "max_length": 12, "depth": 2, "head": "classification", "num_classes": 10, **SMALL},
        replace(RECIPE, task="text_classification"),
        Examples(np.stack([TOKENS[:, 0], TOKENS[:, 1] > 8], 1).astype(np.int32), LABELS),
    ),
    "vit": (
        {"image_size": (8, 12), "patch_size": 4, "depth": 2, "num_classes": 10, **SMALL},
        PHOTOS,
        pixels(8, 12, 3),
    ),
    "transformer": (
        {"source_vocab_size": 30, "target_vocab_size": 30, "encoder_layers": 1, "decoder_layers": 1, **SMALL},
        replace(RECIPE, task="translation"),
        Examples(TOKENS, LABELS),
    ),
}


def over_model(mesh: jax.sharding.Mesh, path: str, leaf: jax.ShapeDtypeStruct) -> NamedSharding:
    """The first axis that the axis `model` divides."""
    axes = [axis for axis, size in enumerate(leaf.shape) if size % mesh.shape["model"] == 0][:1]
    return NamedSharding(mesh, PartitionSpec(*("model" if axis in axes else None for axis in range(leaf.ndim))))


def trained(where: Layout, model: zoo.Model, recipe: Recipe, examples: Examples) -> dict[str, Any]:
    """All that five updates end with, as NumPy arrays."""
    flat = zoo._model.flatten(model.variables)
    put = {path: zoo._arrays.put(path, array, where.sharding) for path, array in flat.items()}
    variables = zoo._model.unflatten(put)
    steps = COUNT // recipe.batch_size
    made = optimizer(recipe, steps)
    state = where.state(TrainState.create(variables, made, average=recipe.average > 0, seed=3))
    epoch = compile_epoch(model, recipe, COUNT, where, where.places(state))
    placed = where.examples(examples)
    after, measures = epoch(state, placed)
    assert int(after.step) == 5
    assert all(a.sharding.is_equivalent_to(b.sharding, a.ndim) for a, b in zip(*map(jax.tree.leaves, (state, after)), strict=True)) or where is ONE
    measured = evaluate(model.replace(variables=after.result), examples, recipe, batch_size=32, layout=where)
    return jax.tree.map(np.asarray, {"measures": measures, "state": after, "evaluated": measured})


def difference(one: Any, other: Any) -> float:
    """The largest, as a share of the array's largest number where that is above one."""
    each = jax.tree.map(lambda a, b: float(np.max(np.abs(a - b)) / max(1, np.max(np.abs(a)))), one, other)
    return max(jax.tree.leaves(each))


def main() -> None:
    assert jax.device_count() == 8
    found = {}
    for family, (config, recipe, examples) in CASES.items():
        module = import_module(f"zoo.{family}").create(**config)
        first = jax.tree.map(lambda array: jnp.asarray(array[:2]), examples)
        inputs = {
            "gpt2": lambda: (first.inputs,),
            "bert": lambda: (first.inputs[:, 0], first.inputs[:, 1]),
            "transformer": lambda: (first.inputs[:, 0], first.inputs[:, 1]),
            "vae": lambda: (first.inputs / 255.0, first.labels),
        }.get(family, lambda: (first.inputs / 255.0,))()
        variables = jax.jit(module.init)(jax.random.key(1), *inputs)
        wide = jax.tree.map(lambda array: array.astype(jnp.float64), variables)
        model = zoo.Model(module, jax.tree.map(np.asarray, wide))
        one = trained(ONE, model, recipe, examples)
        found[family] = {"learnt": difference(jax.tree.map(np.asarray, wide["params"]), one["state"].variables["params"])}
        for name, place in {"data": None, "data and model": over_model}.items():
            if name == "data":
                where = layout("data=8", None, recipe)
            else:
                mesh = layout("data=4,model=2", None, recipe).mesh
                where = layout(mesh, partial(over_model, mesh), recipe)
            found[family][name] = difference(one, trained(where, model, recipe, examples))
    print(json.dumps(found))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
