"""Pictures as the generated entries prepare them, and as timm does."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from scripts import timm_entries
from scripts.timm_models import versions
from zoo._preprocessing import photos
from zoo._registry import generated

FEW = ("center 224 bicubic", "squash 448 bicubic", "center 224 bilinear")


@cache
def transforms():
    """An entry for each distinct transform, by what it does."""
    found = {}
    for name, entry in generated.read(timm_entries.PATH).models.items():
        if "." in name:
            how = entry.preprocess
            mode = "squash" if isinstance(how.resize, tuple) else "center"
            found.setdefault((mode, how.crop, how.interpolation, how), entry)
    return found


@cache
def pictures():
    """Ten odd ones: strips, a single pixel, gray, with transparency, of a palette, of one bit."""
    numbers = np.random.default_rng(7)
    sizes = (
        (257, 31),
        (31, 257),
        (1, 1),
        (2, 3),
        (500, 333),
        (224, 224),
        (225, 449),
        (640, 480),
        (50, 51),
        (99, 7),
    )
    modes = ("RGB", "L", "RGB", "RGBA", "P", "RGB", "1", "RGB", "LA", "CMYK")
    found = []
    for (width, height), mode in zip(sizes, modes, strict=True):
        pixels = Image.fromarray(numbers.integers(0, 256, (height, width, 3), np.uint8))
        found.append(pixels.convert("RGBA").convert("P") if mode == "P" else pixels.convert(mode))
    return found


def apart(entry) -> float:
    """The largest difference of a pixel, in steps of 1/255."""
    (version,) = versions([entry.name])
    from timm.data import create_transform, resolve_data_config

    theirs = create_transform(**resolve_data_config(pretrained_cfg=version.cfg.to_dict()))
    std = np.asarray(entry.preprocess.std)[:, None, None]
    worst = 0.0
    for picture in pictures():
        ours = photos.fitted(picture, entry.preprocess).transpose(2, 0, 1)
        other = theirs(picture.convert("RGB"))
        assert isinstance(other, torch.Tensor)
        worst = max(worst, 255 * np.abs((ours - other.numpy()) * std).max())
    return worst


@pytest.mark.parametrize("kind", FEW)
def test_pictures_are_as_timms(kind):
    mode, crop, interpolation = kind.split()
    key = next(each for each in transforms() if each[:3] == (mode, int(crop), interpolation))
    assert apart(transforms()[key]) <= 1.001


@pytest.mark.slow
def test_pictures_of_every_transform_are_as_timms():
    found = {entry.name: apart(entry) for entry in transforms().values()}
    assert max(found.values()) <= 1.001
