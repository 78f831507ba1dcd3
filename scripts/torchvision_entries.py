"""Entries of weights_manifest.yaml for the classifiers of torchvision, made of its own enumerations.

    python -m scripts.torchvision_entries [--write] [--hashes FILE] [PATTERN ...]
    python -m scripts.torchvision_entries --check [PATTERN ...]

Prints what the manifest lacks, and what it says differently; `--write` adds what it lacks. What is there is
never changed: it may say more, as the whole hash. `--check` builds each model, and compares its shapes with
torchvision's. A new model needs a line in `torchvision_configs.py`, and a new family a paper there.
"""

import argparse
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from scripts.torchvision_configs import CONFIGS, FILES, PAPERS, SIDES, SIZED
from tests.reference.published import declare_operators
from zoo._errors import ZooError
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._registry import blocks, entry_schema, families, manifest, packaged
from zoo._registry.entry import Entry, FrozenMapping, Input, Photos, Weights
from zoo._registry.manifest_schema import TAGGED, Manifest
from zoo._variables import init
from zoo._variables.tree import count_params, unflatten

# torchvision's names of weights -> the manifest's, of which timm has some, too
TAGS = {
    "IMAGENET1K_V1": "tv1_in1k",
    "IMAGENET1K_V2": "tv2_in1k",
    "IMAGENET1K_FEATURES": "features_in1k",
    "IMAGENET1K_SWAG_E2E_V1": "swag_e2e_in1k",
    "IMAGENET1K_SWAG_LINEAR_V1": "swag_linear_in1k",
}
LICENSE = "BSD-3-Clause"  # of torchvision; its enumerations name another one for the weights of SWAG
SWAG = {"license": "CC-BY-NC-4.0", "paper": "https://arxiv.org/abs/2201.08371"}
FEATURES = "; of the features only, the classifier has no numbers"
Hashes = Mapping[str, tuple[str, int | None]]  # url -> whole hash, and size if it is known


class Version(NamedTuple):
    """One of torchvision's published weights, and the model of the manifest that it is for."""

    name: str  # torchvision's, of the model
    model: str  # the manifest's
    family: str
    weights: Any

    @property
    def tag(self) -> str:
        """Returns its name among the model's weights.

        Raises:
            ZooError: torchvision names them as none before.
        """
        name = self.weights.name
        if name not in TAGS:
            raise ZooError(
                f"{self.name} has weights {name}, expected one of {', '.join(TAGS)}: add it to TAGS."
            )
        return TAGS[name]

    @property
    def size(self) -> int:
        """Returns the side of the images, in pixels."""
        (side,) = self.weights.transforms().crop_size
        return int(side)

    def module(self) -> torch.nn.Module:
        """Returns torchvision's module with the shapes of these weights, and no numbers."""
        from torchvision.models import get_model, regnet

        sizes = regnet.BlockParams.from_init_params

        def computed(**options: Any) -> Any:
            """Returns a RegNet's widths, which torchvision computes with tensors."""
            with torch.device("cpu"):
                return sizes(**options)

        options = {
            "inception": {"init_weights": False},
            "googlenet": {"init_weights": False, "aux_logits": False},
            "vit": {"image_size": self.size},
        }
        with torch.device("meta"), patch.object(regnet.BlockParams, "from_init_params", computed):
            return get_model(self.name, weights=None, **options.get(self.family, {}))


def versions(patterns: Iterable[str] = ("*",)) -> list[Version]:
    """Returns all published weights of the models in CONFIGS whose names match a pattern."""
    declare_operators()
    from torchvision import models

    found = []
    for family, configs in CONFIGS.items():
        for name in configs if family in families.names() else ():
            for weights in models.get_model_weights(name):
                side = weights.transforms().crop_size[0]
                model = name if SIZED.get(family, side) == side else f"{name}_{side}"
                if any(fnmatchcase(model, pattern) for pattern in patterns):
                    found.append(Version(name=name, model=model, family=family, weights=weights))
    return found


def missing() -> list[str]:
    """Returns torchvision's classifiers that have no line in CONFIGS, or a family that the zoo lacks."""
    declare_operators()
    from torchvision import models

    known = {name for family, configs in CONFIGS.items() if family in families.names() for name in configs}
    return [name for name in models.list_models(module=models) if name not in known]


def defaults_of(family: str, known: Manifest) -> Mapping[str, Any]:
    """Returns the defaults of a family's entries, those that it will have where it is new."""
    side = SIDES.get(family, 224)
    new = {
        "inputs": (Input("images", (1, side, side, 3), "float32"),),
        "layout": FILES.get(family, "torchvision"),
        "paper": PAPERS.get(family),
        "classes": "imagenet1k",
    }
    return known.families.get(family, new)


def entry(version: Version, known: Manifest, hashes: Hashes) -> Entry:
    """Returns the entry of published weights, as `model.tag`.

    Raises:
        ZooError: torchvision says less of them than of the others.
    """
    from torchvision import __version__

    weights, swag = version.weights, "_SWAG_" in version.weights.name
    config = dict(CONFIGS[version.family][version.name])
    if version.model != version.name:
        config = {"image_size": version.size, **config}
    defaults = defaults_of(version.family, known)
    paper = max((start for start in PAPERS if version.name.startswith(start)), key=len, default=None)
    if paper is None:
        raise ZooError(f"{version.name}: no beginning of the name has a paper; add one to PAPERS.")
    # A tag has the inputs of its model, and the plain name is that of the default weights.
    sized = default(version) or version.family in SIZED
    side = version.size if sized else type(version.weights).DEFAULT.transforms().crop_size[0]
    source = f"torchvision {__version__.partition('+')[0]}, {type(weights).__name__}.{weights.name}"
    return Entry(
        f"{version.model}.{version.tag}",
        sum(parameter.numel() for parameter in version.module().parameters()),
        family=version.family,
        config=FrozenMapping(config),
        inputs=(Input("images", (1, side, side, 3), "float32"),),
        weights=place(weights.url, hashes),
        layout=FILES.get(version.family, "torchvision"),
        license=SWAG["license"] if swag else LICENSE,
        source=source + (FEATURES if weights.name == "IMAGENET1K_FEATURES" else ""),
        paper=SWAG["paper"] if swag else PAPERS[paper],
        metrics=FrozenMapping(metrics(weights.meta)),
        preprocess=preprocessing(weights.transforms()),
        classes=defaults.get("classes"),
    )


def default(version: Version) -> bool:
    """Returns whether these are the weights that the plain name has."""
    return version.weights is type(version.weights).DEFAULT or version.model != version.name


def place(url: str, hashes: Hashes) -> Weights:
    """Returns where weights are; without a whole hash, with the digits that the file's name has.

    Raises:
        ZooError: neither is known.
    """
    if url in hashes:
        sha256, size = hashes[url]
        return Weights(sha256, size=size, url=url)
    found = entry_schema.URL_HASH.search(url)
    if found is None:
        raise ZooError(
            f"{url}: expected a name with the first digits of the hash; pass the hash by --hashes."
        )
    return Weights(found[1], url=url)


def metrics(meta: Mapping[str, Any]) -> dict[str, float]:
    """Returns the published accuracies as parts of 1.

    Raises:
        ZooError: there are none of ImageNet.
    """
    scores = meta["_metrics"].get("ImageNet-1K")
    if scores is None:
        raise ZooError(f"metrics of {', '.join(meta['_metrics'])}; expected those of ImageNet-1K.")
    found = {f"imagenet1k_val_top{k}": scores[f"acc@{k}"] for k in (1, 5)}
    return {name: round(score / 100, 7) for name, score in found.items() if not math.isnan(score)}


def preprocessing(transforms: Any) -> Photos:
    """Returns what torchvision's transforms do."""
    (resize,), (crop,) = transforms.resize_size, transforms.crop_size
    return Photos(
        resize=resize,
        crop=crop,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def added(content: str, known: Manifest, made: Mapping[str, Entry], first: Mapping[str, str]) -> str:
    """Returns the manifest's text with the entries that it lacks.

    Args:
        content: The text.
        known: The entries that it has.
        made: Entries by `model.tag`.
        first: Tag of the weights that the plain name has, by model.
    """
    for model, tag in first.items():
        family = str(made[f"{model}.{tag}"].family)
        defaults = defaults_of(family, known)
        if f"\n  {family}:\n" not in content.partition("\nmodels:\n")[0]:
            content = with_family(content, family, defaults)
        plain = replace(made[f"{model}.{tag}"], weights=None, metrics=FrozenMapping(), layout=None)
        plain = replace(plain, preprocess=None)
        shown = known.models.get(model, replace(plain, layout=defaults["layout"]))
        block = blocks.text(model, plain, defaults) + f"    default: {tag}\n    tags:\n"
        new = [name for name in made if name.rpartition(".")[0] == model and name not in known.models]
        tags = [blocks.tag_text(name.rpartition(".")[2], made[name], shown) for name in new]
        if model not in known.models:
            content = blocks.insert(content, block + "".join(tags))
            continue
        for lines in tags:
            content = blocks.insert_tag(content, model, lines)
    return content


def with_family(content: str, family: str, defaults: Mapping[str, Any]) -> str:
    """Returns the manifest's text with a family's defaults, in their place by its name."""
    entry = Entry(family, 0, **defaults)
    lines = blocks.text(family, entry, {"config": FrozenMapping()}).splitlines(keepends=True)
    block = "".join(line for line in lines if line.strip().partition(":")[0] in (family, *defaults))
    before, start, rest = content.partition("\nfamilies:\n")
    families, end, models = rest.partition("models:\n")
    parts = re.findall(r"^  \w+:\n(?:   .*\n)+", families, re.MULTILINE)
    return before + start + "".join(sorted([*parts, block])) + end + models


def differences(made: Entry, there: Entry) -> Iterator[str]:
    """Yields what the manifest says differently; it may know the whole of a hash, and the size."""
    for name in ("num_params", "family", "inputs", "classes", *TAGGED):
        ours, theirs = getattr(made, name), getattr(there, name)
        if name == "weights" and theirs and ours.url == theirs.url and theirs.sha256.startswith(ours.sha256):
            continue
        if ours != theirs:
            yield f"{made.name}: {name} is {theirs!r}; torchvision says {ours!r}"


def wrong(version: Version, there: Entry) -> Iterator[str]:
    """Yields what of a model is not torchvision's: its classes, or number, names and shapes of its arrays."""
    twin = version.module()
    if list(there.class_names) != version.weights.meta["categories"]:
        yield f"{there.name}: the names of its classes are others"
    stated = version.weights.meta["num_params"]
    counts = {
        "torchvision's module": sum(parameter.numel() for parameter in twin.parameters()),
        "the entry": there.num_params,
        "the module": count_params(unflatten(init.shapes(build(there)[0], there.inputs))),
    }
    # The stated number of ViTs for larger images is wrong for the larger table of positions.
    if len({*counts.values()}) > 1 or (stated != there.num_params and version.family not in SIZED):
        yield f"{there.name}: parameters: {counts}, torchvision states {stated}"
    tensors = {
        name: np.broadcast_to(np.zeros((), np.float32), tuple(tensor.shape))
        for name, tensor in twin.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    module, described = build(replace(there, layout="torchvision"))
    fitted = layouts.fitted(described, tensors, module)  # raises an error that names all that does not fit
    yield from (f"{there.name}: {note}" for note in fitted.notes if not re.search("relative|mask", note))


def main() -> None:
    """Prints, writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="names of models")
    parser.add_argument("--write", action="store_true", help="add what is lacking to the manifest")
    parser.add_argument("--hashes", type=Path, help="JSON: url -> [whole sha256, size in bytes or null]")
    parser.add_argument("--check", action="store_true", help="compare each model with torchvision's")
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    path, known, found = packaged.manifest_path(), manifest.read(), versions(options.patterns)
    if options.check:
        problems = []
        for version in found:
            there = known.models.get(name := f"{version.model}.{version.tag}")
            problems += (
                wrong(version, there) if there else [f"{name}: the manifest lacks it; --write adds it"]
            )
        print(*problems, f"{len(found)} weights, {len(problems)} problems", sep="\n")
        raise SystemExit(bool(problems))
    hashes = json.loads(options.hashes.read_text()) if options.hashes else {}
    made = {f"{each.model}.{each.tag}": entry(each, known, hashes) for each in found}
    first = dict[str, str]()
    for each in found:
        if default(each) or each.model not in first:
            first[each.model] = each.tag
    here = {name: known.models[name] for name in made if name in known.models}
    print(*(line for name in here for line in differences(made[name], here[name])), sep="\n")
    print(f"{len(made)} weights, {len(here)} of them in the manifest; not in the zoo: {missing()}")
    text = path.read_text()
    new = added(text, known, made, first)
    if options.write:
        path.write_text(new)
    else:
        lines = {*text.splitlines()}
        print(*(line for line in new.splitlines() if line not in lines), sep="\n")


if __name__ == "__main__":
    main()
