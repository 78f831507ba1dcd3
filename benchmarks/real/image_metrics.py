"""FID, Inception Score and LPIPS in float64, beside torch-fidelity and the authors' package of LPIPS.

    python -m benchmarks.real.image_metrics [--images N] [--inception FILE]

Needs torch-fidelity and lpips (pip install --no-deps torch-fidelity lpips), with scipy and tqdm for them.
LPIPS' linear layers are the published ones, which are in its package. Other weights are random, unless FILE
is pytorch-fid's pt_inception-2015-12-05-6726825d.pth; torch-fidelity's features are taken before they are
rounded to float32.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import lpips
import numpy as np
import torch
from torch_fidelity import feature_extractor_inceptionv3, metric_fid, metric_isc

import converters
import zoo
from tests.equivalence import randomise, state_dict
from zoo.metrics.pictures import features as features_of

SIDES = (61, 47)  # of images, in pixels
NETS = ("alex", "vgg", "squeeze")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--inception", type=Path)
    options = parser.parse_args()
    print(f"{'measure':<34}{'theirs':>22}{'zoo':>22}{'apart':>10}")
    with jax.enable_x64(True):
        for name, theirs, ours in chain(
            statistics(), distances(), inception(options.images, options.inception)
        ):
            apart = np.abs(np.subtract(theirs, ours)).max() / np.abs(theirs).max()
            first, second = (np.ravel(each)[0] for each in (theirs, ours))
            print(f"{name:<34}{first:>22.15g}{second:>22.15g}{apart:>10.1e}", flush=True)


def statistics() -> Iterator[tuple[str, Any, Any]]:
    rng = np.random.default_rng(0)
    for width, count in ((64, 1000), (512, 2000)):
        mix = rng.normal(size=(width, width)) / width**0.5
        both = [rng.normal(size=(count, width)) @ mix, rng.normal(size=(count, width)) + 0.1]
        yield f"FID, {count:,} features of {width:,}", theirs_fid(*both), zoo.metrics.frechet_distance(*both)


def theirs_fid(*features: np.ndarray) -> float:
    each = [metric_fid.fid_features_to_statistics(torch.from_numpy(array)) for array in features]
    return float(metric_fid.fid_statistics_to_metric(*each, verbose=False)[metric_fid.KEY_METRIC_FID])


def inception(count: int, file: Path | None) -> Iterator[tuple[str, Any, Any]]:
    twin = extractor(file)
    images = np.random.default_rng(1).integers(256, size=(2, count, *SIDES, 3), dtype=np.uint8)
    images[1] //= 2
    if file is None:
        spread(twin, images[0])
    module = zoo.inception.create(num_classes=1008, aux_logits=False, pooling="tensorflow")
    shape = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float64)
    variables = converters.convert(state_dict(twin), module, shape)
    model = zoo.Model(module, variables, zoo.info("inception_fid"))
    theirs, logits = (np.stack(each) for each in zip(*(outputs(twin, each) for each in images), strict=True))
    features = jax.jit(features_of)
    ours = [np.asarray(features(model, each)) for each in images]
    yield f"Inception's features of {count} images", theirs, np.stack(ours)
    few = slice(0, count // 2)  # so that their covariances have inverses
    yield (
        f"FID by {count // 2} of these features",
        theirs_fid(*theirs[..., few]),
        zoo.metrics.frechet_distance(*(each[:, few] for each in ours)),
    )
    score = metric_isc.isc_features_to_metric(torch.from_numpy(logits[0]), 2)
    wanted = [score[metric_isc.KEY_METRIC_ISC_MEAN], score[metric_isc.KEY_METRIC_ISC_STD]]
    found = zoo.metrics.inception_score(images[0], model=model, splits=2, batch_size=count)
    yield "Inception Score, two parts", wanted, found


def extractor(file: Path | None) -> torch.nn.Module:
    """torch-fidelity's network, in float64."""
    kind, names = feature_extractor_inceptionv3.FeatureExtractorInceptionV3, ["2048", "logits_unbiased"]
    options = {"feature_extractor_internal_dtype": "float64"}
    if file:
        return kind("inception", names, feature_extractor_weights_path=str(file), **options)
    with mock.patch.object(torch.nn.Module, "load_state_dict"), tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.pth"
        torch.save({}, path)
        twin = kind("inception", names, feature_extractor_weights_path=str(path), **options)
    twin.feature_extractor_internal_dtype = torch.float64
    # Scales of norms that let images differ in the end.
    return randomise(twin, norms=1.5).eval()


def spread(twin: torch.nn.Module, images: np.ndarray) -> None:
    """Turns random logits to those of a network that tells the images apart, and leaves each class a part."""
    features = torch.from_numpy(outputs(twin, images)[0])
    weight, mean = twin.fc.weight.data, features.mean(0)
    weight -= torch.outer(weight @ mean, mean) / (mean @ mean)
    weight /= (features @ weight.T).std()


def outputs(twin: torch.nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept: list[torch.Tensor] = []
    hook = twin.AvgPool.register_forward_hook(lambda *call: kept.append(call[2].flatten(1)))
    twin(torch.from_numpy(images).movedim(-1, 1))
    hook.remove()
    (features,) = kept
    return features.numpy(), (features @ twin.fc.weight.T).numpy()


def distances() -> Iterator[tuple[str, Any, Any]]:
    a, b = np.random.default_rng(2).random((2, 3, 32, 40, 3))
    first, second = (torch.from_numpy(each).movedim(-1, 1) for each in (a, b))
    for net in NETS:
        twin = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).double().eval()
        with torch.no_grad():
            expected = twin(first, second, normalize=True).flatten().numpy()
        module = zoo.lpips.create(net=net)
        tensors = {
            f"net.features.{name.split('.', 2)[2]}" if name.startswith("net.") else name: tensor
            for name, tensor in state_dict(twin).items()
            if not name.startswith("lins.")
        }
        names, ignore = zoo.lpips.TORCH_NAMES["lpips"], tuple(zoo.lpips.IGNORED)
        variables = converters.convert(tensors, module, a, b, names=names, ignore=ignore)
        model = zoo.Model(module, variables, zoo.info(f"lpips_{net}"))
        yield f"LPIPS of three pairs, {net}", expected, zoo.metrics.lpips(a, b, model=model, batch_size=3)


if __name__ == "__main__":
    main()
