"""Entries of timm_manifest.json for the published weights of timm, made of its own records.

    python -m scripts.timm_entries [--write] [--check] [PATTERN ...]

Prints what would change, and which weights the zoo has no architecture for; `--write` changes the file, in
which other entries stay as they are. `--check` builds each model, and compares its shapes with timm's. What
timm does not say is in timm_scores.csv (accuracies, by its authors' table of results) and timm_files.csv
(commits and hashes that public sources state). A name that weights_manifest.yaml has stays there.
"""

import argparse
import csv
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import ConversionError
from scripts.timm_models import Version, versions
from scripts.timm_terms import UnknownOptionError
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._registry import blocks, generated, manifest, packaged
from zoo._registry.entry import UNATTESTED, Entry, FrozenMapping, Input, Photos, Weights, fields_of
from zoo._registry.entry_schema import FIELDS
from zoo._registry.manifest_schema import Manifest

PATH = packaged.manifest_path().with_name("timm_manifest.json")
FILE = "model.safetensors"
# Number of logits -> names of the classes, as timm tells data sets apart, too.
CLASSES = {
    1000: "imagenet1k",
    11221: "imagenet21k_miil",
    11821: "imagenet12k",
    21841: "imagenet22k",
    21843: "imagenet21k",
}
# timm's words -> those of SPDX, where it has any
LICENSES = {
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "mit": "MIT",
}
# Papers by patterns of names, of weights that timm states none for: the last that matches counts.
PAPERS = {
    "aimv2_*": "https://arxiv.org/abs/2411.14402",
    "beit3_*": "https://arxiv.org/abs/2208.10442",
    "convnext_*": "https://arxiv.org/abs/2201.03545",
    "convnextv2_*": "https://arxiv.org/abs/2301.00808",
    "densenet*": "https://arxiv.org/abs/1608.06993",
    "deit_*": "https://arxiv.org/abs/2012.12877",
    "deit3_*": "https://arxiv.org/abs/2204.07118",
    "efficientnet*": "https://arxiv.org/abs/1905.11946",
    "efficientnetv2*": "https://arxiv.org/abs/2104.00298",
    "flexivit_*": "https://arxiv.org/abs/2212.08013",
    "inception_v3*": "https://arxiv.org/abs/1512.00567",
    "mobilenetv3*": "https://arxiv.org/abs/1905.02244",
    "regnet*": "https://arxiv.org/abs/2003.13678",
    "resnet*": "https://arxiv.org/abs/1512.03385",
    "resnet*d.*": "https://arxiv.org/abs/1812.01187",
    "resnext*": "https://arxiv.org/abs/1611.05431",
    "swin_*": "https://arxiv.org/abs/2103.14030",
    "swinv2_*": "https://arxiv.org/abs/2111.09883",
    "tf_efficientnet*": "https://arxiv.org/abs/1905.11946",
    "tf_efficientnetv2*": "https://arxiv.org/abs/2104.00298",
    "tf_mobilenetv3*": "https://arxiv.org/abs/1905.02244",
    "vgg*": "https://arxiv.org/abs/1409.1556",
    "vit_*": "https://arxiv.org/abs/2010.11929",
    "wide_resnet*": "https://arxiv.org/abs/1605.07146",
    "vit_*.augreg*": "https://arxiv.org/abs/2106.10270",
    "vit_*.dino": "https://arxiv.org/abs/2104.14294",
    "vit_*.mae": "https://arxiv.org/abs/2111.06377",
    "vit_*_clip_*": "https://arxiv.org/abs/2103.00020",
    "vit_*_dinov2.*": "https://arxiv.org/abs/2304.07193",
    "vit_*_reg4_dinov2.*": "https://arxiv.org/abs/2309.16588",
    "vit_*_siglip_*": "https://arxiv.org/abs/2303.15343",
    "vit_*_siglip_*.v2*": "https://arxiv.org/abs/2502.14786",
    "beit_*": "https://arxiv.org/abs/2106.08254",
    "beitv2_*": "https://arxiv.org/abs/2208.06366",
    "eva_giant_*": "https://arxiv.org/abs/2211.07636",
    "eva02_*": "https://arxiv.org/abs/2303.11331",
    "mixer_*": "https://arxiv.org/abs/2105.01601",
    "resmlp_*": "https://arxiv.org/abs/2105.03404",
    "vit_*.naver_in1k": "https://arxiv.org/abs/2403.13298",
    "vit_pe_*": "https://arxiv.org/abs/2504.13181",
    "vit_*_dinov3*": "https://arxiv.org/abs/2508.10104",
    "vit_*_sapiens2.*": "https://arxiv.org/abs/2604.21681",
    "vit_*_lingbot.*": "https://arxiv.org/abs/2607.05247",
}
BUFFERS = re.compile("relative_position_index|relative_coords_table|attn_mask")  # which Flax computes
DEFAULTS = {"layout": "timm", "classes": "imagenet1k"}


def inputs(sides: tuple[int, int]) -> tuple[Input, ...]:
    """Returns the input of a model that takes images of this height and width."""
    return (Input("images", (1, *sides, 3), "float32"),)


def entry(version: Version) -> Entry:
    """Returns the entry of published weights.

    Raises:
        UnknownOptionError: the zoo has no such architecture.
    """
    from timm import __version__

    model, cfg = version.zoo(), version.cfg
    if cfg.custom_load == "hf" or cfg.label_offset or not cfg.hf_hub_id or cfg.hf_hub_filename:
        raise UnknownOptionError("weights that timm changes, or that are not in a repository of its own")
    papers = cfg.paper_ids if isinstance(cfg.paper_ids, list | tuple) else [cfg.paper_ids]
    usual = [paper for pattern, paper in PAPERS.items() if fnmatchcase(version.name, pattern)]
    found = re.fullmatch(r"arXiv:(\d+\.\d+)(v\d+)?", papers[0] or "", re.IGNORECASE)
    return Entry(
        version.name,
        sum(parameter.numel() for parameter in version.module().parameters()),
        family=model.family,
        config=FrozenMapping(model.config),
        inputs=inputs(version.sides),
        weights=weights(cfg.hf_hub_id),
        layout=model.layout,
        license=LICENSES.get(cfg.license, cfg.license) or UNATTESTED,
        source=f"timm {__version__}, {version.name}" + (f"; {cfg.origin_url}" if cfg.origin_url else ""),
        paper=f"https://arxiv.org/abs/{found[1]}" if found else [None, *usual][-1],
        metrics=FrozenMapping(metrics(version)),
        preprocess=preprocessing(cfg),
        classes=CLASSES.get(cfg.num_classes),
    )


def rows(name: str) -> list[dict[str, str]]:
    """Returns the rows of a table beside this file."""
    with Path(__file__).with_name(name).open(newline="") as file:
        return [*csv.DictReader(file)]


@cache
def files() -> Mapping[str, Mapping[str, str]]:
    """Returns commits, sizes and hashes by repository."""
    return {each["repo"]: each for each in rows("timm_files.csv")}


@cache
def scores() -> Mapping[tuple[str, int, float], Mapping[str, str]]:
    """Returns accuracies by name, side of the images, and part of it that is cut out."""
    return {
        (each["name"], int(each["side"]), float(each["crop_pct"])): each for each in rows("timm_scores.csv")
    }


def weights(repo: str) -> Weights:
    """Returns where weights are, and what of their file is attested."""
    known = files().get(repo, {})
    return Weights(
        known.get("sha256") or UNATTESTED,
        size=int(known.get("size") or 0) or None,
        file=FILE,
        repo=repo,
        revision=known.get("revision") or UNATTESTED,
    )


def metrics(version: Version) -> dict[str, float]:
    """Returns the published accuracies for images of the entry's size, as parts of 1."""
    row = scores().get((version.name, version.sides[0], version.cfg.crop_pct), {})
    return {f"imagenet1k_val_top{k}": round(float(row[f"top{k}"]) / 100, 7) for k in (1, 5) if row}


def preprocessing(cfg: Any) -> Photos:
    """Returns what timm's transforms of evaluation do."""
    _, *sides = cfg.input_size
    resize = [math.floor(side / cfg.crop_pct) for side in sides]
    square = sides[0] == sides[1]
    if cfg.crop_mode != "squash" and not (cfg.crop_mode == "center" and square):
        raise UnknownOptionError(f"crop_mode={cfg.crop_mode} to {sides}")
    return Photos(
        resize=(resize[0], resize[1]) if cfg.crop_mode == "squash" else resize[0],
        crop=sides[0] if square else (sides[0], sides[1]),
        interpolation=cfg.interpolation,
        mean=tuple(map(float, cfg.mean)),
        std=tuple(map(float, cfg.std)),
    )


def made_of(found: Iterable[Version], known: Manifest) -> tuple[dict[str, Entry], dict[str, list[str]]]:
    """Returns the entries of weights that the manifest lacks, and by reason the names of others."""
    made, without = dict[str, Entry](), dict[str, list[str]]()
    for version in found:
        if version.name not in known.models:
            try:
                made[version.name] = entry(version)
            except UnknownOptionError as error:
                without.setdefault(f"{version.kind}: {error}", []).append(version.name)
    return made, without


def text(models: Mapping[str, Entry], default_tags: Mapping[str, str]) -> str:
    """Returns the content of timm_manifest.json."""
    common = {family: common_of(models.values(), family) for family in sorted({*_families(models)})}
    order = sorted(models, key=lambda name: blocks.order(name, str(models[name].family)))
    parts = {
        "families": {
            name: told({"inputs": defaults["inputs"], **DEFAULTS}) for name, defaults in common.items()
        },
        "default_tags": {name: default_tags[name] for name in sorted(default_tags)},
        "models": {name: fields_told(models[name], common[str(models[name].family)]) for name in order},
    }
    lines = (f"{json.dumps(name)}: {{\n{_lines(values)}\n}}" for name, values in parts.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _families(models: Mapping[str, Entry]) -> Iterator[str]:
    return (str(entry.family) for entry in models.values())


def _lines(values: Mapping[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())


def common_of(entries: Iterable[Entry], family: str) -> dict[str, Any]:
    """Returns the defaults of a family's entries: its most frequent inputs among them."""
    shapes = Counter(entry.inputs for entry in entries if entry.family == family)
    return {"inputs": shapes.most_common(1)[0][0], **DEFAULTS}


def fields_told(entry: Entry, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of an entry that differ from its family's defaults, in the manifest's order."""
    found = {"config": FrozenMapping(), **fields_of(entry)}
    found |= {name: None for name in defaults if name not in found}
    return {
        name: told(found[name]) for name in FIELDS if name in found and found[name] != defaults.get(name, ...)
    }


def told(value: Any) -> Any:
    """Returns a value as JSON has it; parts of entries without fields that have their default."""
    if isinstance(value, tuple | list):
        return [told(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        defaults = {each.name: each.default for each in fields(value)}
        return {
            name: told(each) for name, each in fields_of(value).items() if defaults.get(name, MISSING) != each
        }
    return {name: told(each) for name, each in value.items()} if isinstance(value, Mapping) else value


def written(made: Mapping[str, Entry], found: Iterable[Version], known: Manifest, there: Manifest) -> str:
    """Returns the file's text with new entries in place of those of the same weights.

    Args:
        made: Entries by name.
        found: The weights that were looked at.
        known: The manifest that people edit.
        there: The entries that the file has.
    """
    looked = {version.name: version for version in found}
    models = {name: each for name, each in there.models.items() if "." in name and name not in looked} | made
    plain = {name: each.source for name, each in there.models.items() if "." not in name}
    tags = {name: _tag(str(source)) for name, source in plain.items()}
    tags |= {
        version.model: version.cfg.tag for name, version in looked.items() if version.default and name in made
    }
    fine = {name: tag for name, tag in tags.items() if f"{name}.{tag}" in models and name not in known.models}
    return text(models, fine)


def _tag(source: str) -> str:
    return re.sub(r"^timm [\w.]+, \w+\.|;.*", "", source)


def differences(version: Version, there: Entry) -> Iterator[str]:
    """Yields what an entry says differently from timm's record and module."""
    made = entry(version)
    for name in ("num_params", "family", "config", "inputs", "layout", "license", "preprocess", "classes"):
        if getattr(made, name) != getattr(there, name):
            yield f"{name} is {getattr(there, name)!r}; timm says {getattr(made, name)!r}"
    if there.classes and len(there.class_names) != version.cfg.num_classes:
        yield f"{len(there.class_names)} names of classes, for {version.cfg.num_classes}"


def misfits(version: Version, there: Entry) -> Iterator[str]:
    """Yields how the arrays of an entry's module differ from timm's tensors."""
    tensors = {
        name: np.broadcast_to(np.zeros((), np.float32), tuple(tensor.shape))
        for name, tensor in version.module().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    module, described = build(there)
    try:
        fitted = layouts.fitted(described, tensors, module)
    except ConversionError as error:
        yield str(error)[:300]
        return
    yield from (note for note in fitted.notes if not BUFFERS.search(note))


def main() -> None:
    """Prints, writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="names with tags")
    parser.add_argument("--write", action="store_true", help="write timm_manifest.json")
    parser.add_argument("--check", action="store_true", help="compare each model with timm's")
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    known = manifest.read(packaged.manifest_path())
    there = generated.read(PATH) if PATH.is_file() else Manifest(models={})
    if options.check:
        check(options.patterns, there)
    found = versions(options.patterns)
    made, without = made_of(found, known)
    new = written(made, found, known, there)
    for reason, names in without.items():
        print(f"{len(names)} without an architecture, {reason}: {', '.join(names)}")
    print(f"{len(found)} weights, {len(made)} entries, {sum(map(len, without.values()))} without")
    if options.write:
        PATH.write_text(new)
    else:
        lines = {*PATH.read_text().splitlines()} if PATH.is_file() else set()
        print(*(line for line in new.splitlines() if line not in lines), sep="\n")


def check(patterns: Iterable[str], there: Manifest) -> None:
    """Compares entries with timm's modules; exits with 1 where there are differences."""
    problems, found = list[str](), [each for each in versions(patterns) if each.name in there.models]
    same = dict[Any, list[str]]()  # how the arrays of a module differ, which weights share
    for version in found:
        kept = there.models[version.name]
        key = (version.shape, kept.family, kept.config, kept.layout)
        if key not in same:
            same[key] = [*misfits(version, kept)]
        wrong = [*differences(version, kept), *same[key]]
        problems += [f"{version.name}: {problem}" for problem in wrong]
        print(version.name, *(wrong or ["is right"]), flush=True)
    print(*problems, f"{len(found)} weights, {len(problems)} problems", sep="\n")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
