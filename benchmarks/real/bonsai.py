"""Public NNX models with conversion tables of their own: these, and drafts of `converters`, against PyTorch.

    python -m benchmarks.real.bonsai DIR

DIR is a checkout of github.com/jax-ml/bonsai (Apache-2.0; measured at 3628425), which needs jaxtyping, etils
and tqdm. transformers' models have random weights that float32 holds, and are small where a config says so.
Bonsai's loader reads the file that they save; `converters.convert` gets what its error drafts. Both models
are then widened, and compared with PyTorch in float64; once more with all that either side computes in fewer
digits (attention, rotary embeddings) in float64, and GELU not approximated, so that only weights count.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import inspect
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from flax import nnx

import converters
from tests.equivalence import randomise

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 64, 96, 3))
SQUARES = RNG.normal(size=(2, 32, 32, 3))
IDS = RNG.integers(1, 64, size=(2, 8))
VIT = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
COLUMNS = (
    "model",
    "lines of the loader there",
    "of its table",
    "pairs and rules here",
    "error there",
    "here",
    "there, all in float64",
    "here, all in float64",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model of both.

    Attributes:
        torch: Makes transformers'.
        reference: Runs it.
        folder: Folder of bonsai's.
        make: Makes bonsai's config, of the module `modeling`.
        model: Name of the class.
        loader: Name of bonsai's function that reads a folder of safetensors.
        call: Runs bonsai's.
    """

    torch: Callable[[], torch.nn.Module]
    reference: Callable[[Any], torch.Tensor]
    folder: str
    make: Callable[[Any], Any]
    model: str
    loader: str
    call: Callable[[Any, Any], jax.Array]


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).movedim(-1, 1).contiguous()


def resnet50() -> torch.nn.Module:
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=10))


def vit() -> torch.nn.Module:
    config = transformers.ViTConfig(**VIT, image_size=32, patch_size=8, num_labels=10)
    return transformers.ViTForImageClassification(config)


def dinov3() -> torch.nn.Module:
    config = transformers.DINOv3ViTConfig(**VIT, image_size=32, patch_size=8, num_register_tokens=4)
    return transformers.DINOv3ViTModel(config)


def qwen3() -> torch.nn.Module:
    config = transformers.Qwen3Config(
        vocab_size=64,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=False,
        rope_theta=1_000_000,
        attn_implementation="eager",
    )
    return transformers.Qwen3ForCausalLM(config)


def vit_config(modeling: Any) -> Any:
    return modeling.ModelConfig(
        image_size=(32, 32),
        patch_size=(8, 8),
        num_channels=3,
        hidden_dim=48,
        attn_dropout_prob=0.0,
        dropout_prob=0.0,
        num_heads=4,
        mlp_dim=96,
        eps=1e-12,
        num_layers=3,
        num_labels=10,
    )


def qwen3_config(modeling: Any) -> Any:
    return modeling.ModelConfig(
        num_layers=2,
        vocab_size=64,
        emb_dim=24,
        mlp_dim=40,
        num_heads=4,
        head_dim=8,
        num_kv_heads=2,
        rope_theta=1_000_000,
        rope_scaling_factor=8,
        local_rope_theta=1e4,
        norm_eps=1e-6,
        tie_word_embeddings=False,
    )


def tokens(modeling: Any, model: Any, ids: np.ndarray) -> jax.Array:
    cache = modeling.init_cache(model.config, *ids.shape, 0, dtype=jnp.float64)
    logits: jax.Array = model(jnp.asarray(ids), cache=cache, segment_ids=jnp.ones(ids.shape, jnp.int32))
    return logits


CASES = (
    Case(
        torch=resnet50,
        reference=lambda model: model(channels_first(IMAGES)).logits,
        folder="resnet",
        make=lambda modeling: modeling.ModelConfig.resnet50(10),
        model="ResNet",
        loader="create_resnet_from_pretrained",
        call=lambda modeling, model: model(IMAGES),
    ),
    Case(
        torch=vit,
        reference=lambda model: model(channels_first(SQUARES)).logits,
        folder="vit",
        make=vit_config,
        model="ViTClassificationModel",
        loader="create_vit_from_pretrained",
        call=lambda modeling, model: model(SQUARES, rngs=None),
    ),
    Case(
        torch=dinov3,
        reference=lambda model: model(channels_first(SQUARES)).last_hidden_state,
        folder="dinov3",
        make=lambda modeling: modeling.ModelConfig(**VIT, image_size=32, patch_size=(8, 8)),
        model="Dinov3ViTModel",
        loader="create_model_from_safe_tensors",
        call=lambda modeling, model: model(jnp.moveaxis(SQUARES, -1, 1))["last_hidden_state"],
    ),
    Case(
        torch=qwen3,
        reference=lambda model: model(torch.from_numpy(IDS)).logits,
        folder="qwen3",
        make=qwen3_config,
        model="Qwen3",
        loader="create_model_from_safe_tensors",
        call=lambda modeling, model: tokens(modeling, model, IDS),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--models", default="*", metavar="PATTERN")
    options = parser.parse_args()
    sys.path.insert(0, options.directory)
    warnings.simplefilter("ignore")
    logging.disable()  # bonsai's loader names every counter of a batch norm
    jax.config.update("jax_enable_x64", True)
    print("| " + " | ".join(COLUMNS) + " |")
    for case in (case for case in CASES if fnmatch.fnmatch(case.folder, options.models)):
        print(row(case), flush=True)


def row(case: Case) -> str:
    """Returns a line of the table."""
    params = import_module(f"bonsai.models.{case.folder}.params")
    code = [line for line in Path(params.__file__).read_text().splitlines() if line and line[0] != "#"]
    table = inspect.getsource(params._get_key_and_transform_mapping).splitlines()
    twin = randomise(case.torch()).float().eval()
    with tempfile.TemporaryDirectory() as folder:
        twin.save_pretrained(folder)  # whose names are those of published files
        names, *errors = measured(case, params, Path(folder), twin.double())
        with exact():
            double = case.torch().double().eval()
            double.load_state_dict(twin.state_dict())
            errors += measured(case, params, Path(folder), double)[1:]
    figures = " | ".join(f"{each:.1e}" for each in errors)
    return f"| {case.folder} | {len(code)} | {len(table)} | {len(names)} | {figures} |"


def measured(case: Case, params: Any, folder: Path, twin: torch.nn.Module) -> tuple[Any, float, float]:
    """Converts both ways; returns the draft, and the errors of bonsai's model and of ours."""
    modeling = import_module(f"bonsai.models.{case.folder}.modeling")
    given = dict(converters.read_checkpoint(folder / "model.safetensors"))
    config = case.make(modeling)
    theirs = getattr(params, case.loader)(folder, config)
    ours, names = drafted(given, lambda: getattr(modeling, case.model)(config, rngs=nnx.Rngs(0)))
    back = converters.to_torch(ours, like=given, names=names)
    assert all(back[name].tobytes() == tensor.tobytes() for name, tensor in given.items())
    with torch.no_grad():
        expected = case.reference(twin).numpy()
    return names, error(case, modeling, theirs, expected), error(case, modeling, ours, expected)


def drafted(given: Mapping[str, np.ndarray], make: Callable[[], nnx.Module]) -> tuple[nnx.Module, Any]:
    """Returns the model converted by the draft of the first try's error, and the draft."""
    try:
        return converters.convert(given, make), ()
    except converters.ConversionError as error:
        return converters.convert(given, make, names=error.draft), error.draft


def error(case: Case, modeling: Any, model: Any, expected: np.ndarray) -> float:
    """Returns the largest difference from PyTorch's outputs, as a part of the largest of these."""
    nnx.update(model, jax.tree.map(wide, nnx.state(model)))
    model.eval()
    with patch.object(jnp, "int32", jnp.int64):  # which bonsai mixes with JAX's default
        found = np.asarray(case.call(modeling, model))
    assert found.dtype == expected.dtype == np.float64, found.dtype
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def wide(leaf: Any) -> Any:
    return jnp.asarray(leaf, jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


@contextmanager
def exact() -> Iterator[None]:
    """Lets what models compute in fewer digits be in float64, on both sides, and GELU not be approximated."""
    gelu = jax.nn.gelu

    def exact_gelu(x: Any, approximate: bool = False) -> Any:
        return gelu(x, approximate=False)

    replaced = [
        *((jnp, name, jnp.float64) for name in ("float32", "bfloat16")),
        *((torch, name, torch.float64) for name in ("float32", "float")),
        (torch.Tensor, "float", torch.Tensor.double),
        (jax.nn, "gelu", exact_gelu),
        (nnx, "gelu", exact_gelu),
        (jax.nn, "dot_product_attention", attention),
    ]
    jax.clear_caches()
    with ExitStack() as stack:
        for place, name, value in replaced:
            stack.enter_context(patch.object(place, name, value))
        yield
    jax.clear_caches()


def attention(query: Any, key: Any, value: Any, *rest: Any, **options: Any) -> Any:
    assert not any(each is not None for each in rest), "no bias, no mask"
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)


if __name__ == "__main__":
    main()
