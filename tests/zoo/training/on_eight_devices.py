"""Five updates of each family on one of eight devices and on meshes of all; prints how far apart they end."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import zoo
from zoo.training import Examples, Recipe, TrainState, evaluate
from zoo.training.loop import compile_epoch
from zoo.training.optimizer import optimizer
from zoo.training.partitioning import SINGLE_DEVICE, Partitioner, make_partitioner
from zoo.training.tasks import TASKS, Task

COUNT, BATCH = 83, 16  # five updates; the shares are made equal
EVALUATED = ("vae", "next_token")  # tasks
PLAIN = ("mlp", "resnet")  # families that are trained without shares of their params, too
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
    """Recipe of options that no bundled one has."""
    source, target = examples.inputs[:, 0], examples.inputs[:, 1]
    logits = module.apply(variables, source, target[:, :-1], train=train, rngs={"dropout": key})
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target[:, 1:]).mean(-1)
    return {"loss": loss}, {}


TASKS["translation"] = Task(translation, best="loss", highest=False)


def pixels(height: int, width: int, channels: int) -> Examples:
    return Examples(RNG.integers(0, 256, (COUNT, height, width, channels)).astype(np.uint8), LABELS)


def scaled(examples: Examples) -> tuple[jax.Array, ...]:
    return (examples.inputs / 255.0,)


def pairs(examples: Examples) -> tuple[jax.Array, ...]:
    return examples.inputs[:, 0], examples.inputs[:, 1]


# Family -> keywords of its `create`, recipe, examples, what the module takes of them.
CASES: dict[str, tuple[dict[str, Any], Recipe, Examples, Callable[[Examples], tuple[Any, ...]]]] = {
    "mlp": ({"hidden": (16,)}, PHOTOS, pixels(6, 5, 1), scaled),
    "cnn": ({"channels": (4, 8)}, replace(PHOTOS, micro_batches=2), pixels(12, 8, 3), scaled),
    "resnet": (
        {"depth": 10, "channels": 4, "stem": "cifar", "shortcut": "pad", "num_classes": 10},
        replace(PHOTOS, optimizer="sgd"),
        pixels(10, 8, 3),
        scaled,
    ),
    "vae": (
        {"input_shape": (6, 5, 1), "encoder_features": (16,), "decoder_features": (16,), "latent_dim": 4},
        replace(RECIPE, task="vae"),
        pixels(6, 5, 1),
        lambda examples: (*scaled(examples), examples.labels),
    ),
    "gpt2": (
        {"vocab_size": 30, "max_length": 9, "depth": 2, **SMALL},
        replace(RECIPE, task="next_token"),
        Examples(TOKENS[:, 0], TOKENS[:, 1]),
        lambda examples: (examples.inputs,),
    ),
    "bert": (
        {"vocab_size": 30, "max_length": 12, "depth": 2, "head": "classification", **SMALL},
        replace(RECIPE, task="text_classification"),
        Examples(np.stack([TOKENS[:, 0], TOKENS[:, 1] > 8], 1).astype(np.int32), LABELS % 2),
        pairs,
    ),
    "vit": (
        {"image_size": (8, 12), "patch_size": 4, "depth": 2, "num_classes": 10, **SMALL},
        PHOTOS,
        pixels(8, 12, 3),
        scaled,
    ),
    "transformer": (
        {"source_vocab_size": 30, "target_vocab_size": 30, "encoder_layers": 1, "decoder_layers": 1, **SMALL},
        replace(RECIPE, task="translation"),
        Examples(TOKENS, LABELS),
        pairs,
    ),
}


@dataclass(frozen=True)
class OverModel:
    """Each array's first axis that the mesh's axis `model` divides."""

    mesh: Mesh

    def __call__(self, path: str, leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size % self.mesh.shape["model"] == 0]
        return NamedSharding(
            self.mesh, PartitionSpec(*[None] * min(axes), "model") if axes else PartitionSpec()
        )


def trained(where: Partitioner, model: zoo.Model, recipe: Recipe, examples: Examples) -> dict[str, Any]:
    """All that five updates end with."""
    flat = zoo._variables.tree.flatten(model.variables)
    put = {path: zoo._variables.sharding.put(path, array, where.sharding) for path, array in flat.items()}
    made = optimizer(recipe, COUNT // recipe.batch_size)
    created = TrainState.create(zoo._variables.tree.unflatten(put), made, average=True, seed=3)
    state = where.state(created)
    shardings = where.out_shardings(state)
    after, measures = compile_epoch(model, recipe, COUNT, where, shardings)(state, where.examples(examples))
    assert int(after.step) == 5
    ended = {"measures": measures, "state": after}
    if recipe.task not in EVALUATED:
        return ended
    trained = model.replace(variables=after.result)
    return ended | {"evaluated": evaluate(trained, examples, recipe, batch_size=32, partitioner=where)}


def difference(one: Any, other: Any) -> float:
    """The largest, as a share of the array's largest number where that is above one."""

    def each(a: Any, b: Any) -> float:
        a, b = np.asarray(a), np.asarray(b)
        return float(np.max(np.abs(a - b)) / max(1, np.max(np.abs(a))))

    return max(jax.tree.leaves(jax.tree.map(each, one, other)))


def differences(family: str) -> dict[str, float]:
    config, recipe, examples, taken = CASES[family]
    module = import_module(f"zoo.{family}").create(**config)
    # Random without the module's own initialisers, which take longer to compile than to be worth it.
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *taken(examples)))
    model = zoo.Model(module, jax.tree.map(lambda leaf: RNG.uniform(0.05, 0.2, leaf.shape), shapes))
    one = trained(SINGLE_DEVICE, model, recipe, examples)
    partitioners = {"data=4,model=2": make_partitioner(MESH, OverModel(MESH), recipe)}
    if family in PLAIN:
        partitioners["data=8"] = make_partitioner("data=8", None, recipe)
    return {
        "learnt": difference(model.variables["params"], one["state"].variables["params"]),
        **{
            name: difference(one, trained(where, model, recipe, examples))
            for name, where in partitioners.items()
        },
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    assert jax.device_count() == 8
    MESH = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
    print(json.dumps({family: differences(family) for family in sys.argv[1:] or CASES}))
