"""Autoencoders of latents in float64, and in float32, beside diffusers' modules with the same random weights.

    python -m benchmarks.real.autoencoders [--models PATTERN] [--side PIXELS]

Needs diffusers (pip install --no-deps diffusers). Each model is of its published shape; weights are random,
and go through a directory as diffusers writes it: its own save_pretrained, and zoo.load. "entry" compares
the number of parameters with the manifest's, where the model has an entry.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import fnmatch
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

import zoo
from tests.equivalence import randomise
from zoo._registry import manifest

WIDTHS = (128, 256, 512, 512)
STAGES: dict[str, Any] = {
    "block_out_channels": WIDTHS,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
NO_CONVS = {"use_quant_conv": False, "use_post_quant_conv": False}
MODELS: dict[str, tuple[Callable[..., torch.nn.Module], dict[str, Any]]] = {
    "sd-vae-ft-mse": (AutoencoderKL, STAGES),
    "sdxl": (AutoencoderKL, {**STAGES, "scaling_factor": 0.13025}),
    "sd3": (
        AutoencoderKL,
        {
            **STAGES,
            **NO_CONVS,
            "latent_channels": 16,
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
        },
    ),
    "taesd": (AutoencoderTiny, {}),
    "taesd3": (AutoencoderTiny, {"latent_channels": 16}),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="*")
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    print("model          tensors   parameters  entry     encoded  decoded  float32")
    for name in fnmatch.filter(MODELS, options.models):
        kind, config = MODELS[name]
        with torch.device("meta"):
            count = sum(each.numel() for each in kind(**config).parameters())
        known = manifest.read().models.get(name)
        same = "none" if known is None else "equal" if known.num_params == count else "ANOTHER"
        twin = randomise(kind(**config)).eval()
        figures = "".join(f"{each:>9.1e}" for each in compared(twin, options.side))
        print(f"{name:<14}{len(twin.state_dict()):>8}{count:>13,}  {same:<8}{figures}", flush=True)


def compared(twin: torch.nn.Module, side: int) -> list[float]:
    """Differences as parts of the largest number: of latents and images in float64, of images in float32."""
    images = np.random.default_rng(0).uniform(-1, 1, (1, side, side + 24, 3))
    with tempfile.TemporaryDirectory() as directory:
        twin.save_pretrained(directory)
        with jax.enable_x64(True):
            model = zoo.load(f"{directory}/", pretrained=True)
            found = encode(model, images)
            theirs, decoded = run(twin, images)
            ours = jax.jit(lambda model, x: model(x, method="decode"))(model, theirs)
            apart = [difference(found, theirs), difference(ours, decoded)]
        model = zoo.load(f"{directory}/", pretrained=True, param_dtype="float32")
        with jax.default_matmul_precision("highest"):
            ours = jax.jit(lambda model, x: model(x, method="decode"))(model, theirs.astype(np.float32))
    with torch.no_grad():
        single = twin.float().decode(first(torch.from_numpy(theirs.astype(np.float32)))).sample
    return [*apart, difference(ours, single.movedim(1, -1).numpy())]


def encode(model: zoo.Model, images: np.ndarray) -> np.ndarray:
    found = jax.jit(lambda model, x: model(x, method="encode"))(model, images)
    return np.asarray(found[0] if isinstance(found, tuple) else found)


def run(twin: torch.nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        encoded = twin.encode(first(torch.from_numpy(images)))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        decoded = twin.decode(latents).sample
    return latents.movedim(1, -1).numpy(), decoded.movedim(1, -1).numpy()


def first(images: torch.Tensor) -> torch.Tensor:
    return images.movedim(-1, 1).contiguous()


def difference(ours: Any, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    main()
