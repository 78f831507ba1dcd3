"""Small models of every family on eight virtual devices, against the same on one; prints what differs.

Run in a process of its own, since the number of devices is fixed when jax starts:

    JAX_NUM_CPU_DEVICES=8 python -m tests.zoo.variables.on_devices DIRECTORY [FAMILY ...]
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import zoo
from zoo._loading.build import build
from zoo._registry.entry import FrozenMapping
from zoo._saving import shards
from zoo._variables import init
from zoo._variables.tree import unflatten

RNG = np.random.default_rng(0)
TEXT = {"vocab_size": 48, "max_length": 16, "width": 32, "depth": 2, "heads": 4}
LLAMA = {"kv_heads": 2, "feed_forward": 64, "tied": False, "attention_bias": True}
IDS = RNG.integers(48, size=(8, 9))
# Name in the manifest, what makes it small, inputs.
MODELS = {
    "mlp": ("mlp_mnist", {"hidden": (24,)}, [RNG.random((8, 28, 28, 1))]),
    "cnn": ("cnn_mnist", {"channels": (8, 16), "hidden": 24}, [RNG.random((8, 28, 28, 1))]),
    "vae": (
        "vae_mnist",
        {"encoder_features": (32, 16), "decoder_features": (16, 32), "latent_dim": 8},
        [RNG.random((8, 28, 28, 1)), RNG.integers(10, size=8)],
    ),
    "resnet": (
        "resnet18",
        {"depth": 10, "channels": 8, "num_classes": 16},
        [RNG.random((8, 40, 32, 3))],
    ),
    "vit": (
        "vit_tiny_patch16_224",
        {"image_size": 16, "patch_size": 8, "width": 24, "depth": 2, "heads": 4, "num_classes": 10},
        [RNG.random((8, 16, 16, 3))],
    ),
    "gpt2": ("gpt2", TEXT, [IDS]),
    "llama": ("smollm2-135m", TEXT | LLAMA, [IDS]),
    "bert": ("bert-base-uncased", TEXT | {"feed_forward": 64}, [IDS]),
    "transformer": (
        "transformer_base",
        {"source_vocab_size": 48, "target_vocab_size": 48, "width": 32, "heads": 4, "feed_forward": 64}
        | {"encoder_layers": 2, "decoder_layers": 2},
        [IDS, IDS[:, :5]],
    ),
}
TRANSFORMERS = ("vit", "gpt2", "llama", "bert", "transformer")


def rules(family, mesh):
    """The ways to spread a model of the family."""
    yield "fsdp", zoo.fsdp(mesh)
    if family in TRANSFORMERS:
        yield "tensor_parallel", zoo.tensor_parallel(mesh, family)
        yield "both", zoo.tensor_parallel(mesh, family, fsdp="data")


def computed(model, inputs):
    """Logits, and gradients of a number that all of them enter, as NumPy arrays."""

    def loss(variables, inputs):
        out = model.module.apply(variables, *inputs, rngs={"noise": jax.random.key(1)})
        leaves = [leaf for leaf in jax.tree.leaves(out) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        weights = [jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape) for leaf in leaves]
        return sum((leaf * weight).sum() for leaf, weight in zip(leaves, weights, strict=True)), leaves

    # As an argument: what a function closes over is a constant, and on every device whole.
    gradients, leaves = jax.jit(jax.grad(loss, has_aux=True))(model.variables, inputs)
    return jax.device_get(leaves), jax.device_get(gradients)


def difference(found, expected):
    """The largest one, relative to the largest magnitude."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    return float(max(np.abs(a - b).max() for a, b in pairs) / largest)


def made(family):
    """The module with random variables, and an entry that says what it is."""
    name, config, _ = MODELS[family]
    module, entry = build(zoo.info(name), config=config)
    entry = replace(entry, weights=None, layout=None, metrics=FrozenMapping())
    flat = {
        path: (RNG.random(leaf.shape) + 0.5) if path.endswith("/var") else RNG.normal(0, 0.2, leaf.shape)
        for path, leaf in init.shapes(module, entry.inputs).items()
    }
    return zoo.Model(module, unflatten(flat), entry)


def saved_in_parts(model, target):
    """Saves a spread model in files of 20 kB at most, and says whether it is loaded as it was."""
    zoo.save(model, target)
    back = zoo.load(target, pretrained=True)
    files = sorted(path.name for path in target.glob("model*"))
    sizes = [path.stat().st_size for path in target.glob("model-*")]
    return {
        "files": files,
        "largest": max(sizes),
        "same": jax.tree.all(jax.tree.map(np.array_equal, model.variables, back.variables)),
    }


def results(family, directory, mesh):
    """Yields the differences, by the way to spread the model."""
    inputs, target = MODELS[family][2], directory / family
    zoo.save(made(family), target)
    plain = zoo.load(target, pretrained=True)
    logits, gradients = computed(plain, inputs)
    batch = NamedSharding(mesh, PartitionSpec("data"))
    for rule, sharding in rules(family, mesh):
        model = zoo.load(target, pretrained=True, sharding=sharding)
        leaves = jax.tree.leaves(model.variables)
        mine = computed(model, jax.device_put(inputs, batch))
        found = {
            "same arrays": jax.tree.all(jax.tree.map(np.array_equal, plain.variables, model.variables)),
            "share": sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
            / sum(leaf.nbytes for leaf in leaves),
            "logits": difference(mine[0], logits),
            "gradients": difference(mine[1], gradients),
            "notes": model.notes,
            "saved": saved_in_parts(model, directory / f"{family}, {rule}"),
        }
        yield rule, found
    if family == "resnet":  # by its batch alone, as convolutional networks are spread
        model = zoo.load(target, pretrained=True, sharding=NamedSharding(mesh, PartitionSpec()))
        mine = computed(model, jax.device_put(inputs, batch))
        yield "batch", {"logits": difference(mine[0], logits), "gradients": difference(mine[1], gradients)}


def main(directory, families):
    """Prints the differences of every family, or of some."""
    jax.config.update("jax_enable_x64", True)
    shards.LARGEST = 20_000
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    print(json.dumps({family: dict(results(family, directory, mesh)) for family in families or MODELS}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
