"""The preprocessor_config.json of transformers: how pictures become a model's input.

The reference is transformers' processors on Pillow, whose numbers these are. Its processors on torchvision
resample otherwise: bilinear by at most one step of 255, bicubic by some where pictures are rough.
"""

from collections.abc import Mapping
from typing import Any

from zoo._errors import ManifestError
from zoo._loading.sentence_transformers import parsed
from zoo._registry.entry import Photos
from zoo._registry.entry_schema import FILTERS

PREPROCESSOR = "preprocessor_config.json"
NO_CROP_FROM = 384  # pixels from which ConvNeXt's processor resizes to a square instead of cropping

_STANDARD = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_ALL = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": 3}
_SQUARE = {"height": 224, "width": 224}
_CROPPED = {"do_center_crop": True, "crop_size": _SQUARE}
# Type of processor -> what it does where its file says nothing, as of transformers 5.
PROCESSORS: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": {**_ALL, **_STANDARD, "resample": 2, "size": _SQUARE},
    "DeiTImageProcessor": {**_ALL, **_CROPPED, **_STANDARD, "size": {"height": 256, "width": 256}},
    "BeitImageProcessor": {**_ALL, **_STANDARD, "size": _SQUARE, "crop_size": _SQUARE},
    "BitImageProcessor": {**_ALL, **_CROPPED, **_CLIP, "size": {"shortest_edge": 224}},
    "CLIPImageProcessor": {**_ALL, **_CROPPED, **_CLIP, "size": {"shortest_edge": 224}},
    "SiglipImageProcessor": {**_ALL, **_STANDARD, "size": _SQUARE},
    "SegformerImageProcessor": {
        **_ALL,
        **_IMAGENET,
        "resample": 2,
        "size": {"height": 512, "width": 512},
    },
    "ConvNextImageProcessor": {
        **_ALL,
        **_STANDARD,
        "size": {"shortest_edge": NO_CROP_FROM},
        "crop_pct": 224 / 256,
    },
}
# Those for which one number is a square, instead of the shorter side.
_SQUARES = ("BeitImageProcessor", "DeiTImageProcessor", "SegformerImageProcessor", "ViTImageProcessor")
# Names that such a file has, of which it need not have any particular one.
FIELDS = {name for options in PROCESSORS.values() for name in options} | {
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
}
# Older names of the same types.
SUFFIXES = (("FeatureExtractor", "ImageProcessor"), ("ImageProcessorFast", "ImageProcessor"))


def photos(place: str, content: bytes, default: str, channels: int) -> Photos:
    """Returns what a preprocessor_config.json says.

    Args:
        place: Name of the model, for messages.
        content: Content of the file.
        default: Type of the processor where the file names none.
        channels: Number of channels of the model's images.

    Raises:
        ManifestError: the file cannot be read, or asks for what the zoo does not do.
    """
    place = f"{place}: {PREPROCESSOR}"
    said = parsed(place, content, dict)
    kind = said.get("image_processor_type") or said.get("feature_extractor_type") or default
    for old, new in SUFFIXES:
        kind = f"{str(kind).removesuffix(old)}{new}" if str(kind).endswith(old) else kind
    if kind not in PROCESSORS:
        raise ManifestError(
            f"{place} is of a {kind}; the zoo has {', '.join(PROCESSORS)}. Make the model's input yourself."
        )
    # Null is the default, but a step that is null is left out.
    said = {name: value for name, value in said.items() if value is not None or name.startswith("do_")}
    options = {**PROCESSORS[kind], **said}
    try:
        return _photos(kind, options, channels)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise ManifestError(f"{place} of a {kind}: {error}; make the model's input yourself.") from error


def said(how: Photos) -> dict[str, Any]:
    """Returns the content of a preprocessor_config.json for what `photos` would return."""
    resize, crop = (
        {"height": side[0], "width": side[1]} if isinstance(side, tuple) else side
        for side in (how.resize, how.crop)
    )
    return {
        # Of the types, it is that of most options; the other one does not ask for colors.
        "image_processor_type": "BitImageProcessor" if len(how.mean) == 3 else "ViTImageProcessor",
        "do_resize": resize is not None,
        "size": resize if isinstance(resize, dict) else {"shortest_edge": resize or 224},
        "resample": FILTERS.index(how.interpolation),
        "do_center_crop": crop is not None,
        "crop_size": crop if isinstance(crop, dict) else {"height": crop or 224, "width": crop or 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [*how.mean],
        "image_std": [*how.std],
    }


def _photos(kind: str, options: Mapping[str, Any], channels: int) -> Photos:
    if options.get("do_pad"):
        raise ValueError("do_pad: true; the zoo pads no pictures")
    if channels not in (1, 3):
        raise ValueError(f"the images have {channels} channels; the zoo makes 1 or 3 of a picture")
    if options["resample"] not in range(len(FILTERS)):
        raise ValueError(f"resample: {options['resample']!r}; expected 0 to {len(FILTERS) - 1}")
    resize, crop = _sizes(kind, options)
    mean, std = _colors(options, channels)
    return Photos(
        resize=resize,
        crop=crop,
        interpolation=FILTERS[options["resample"]],
        mean=mean,
        std=std,
        rounding="floor",
    )


def _sizes(kind: str, options: Mapping[str, Any]) -> tuple[int | tuple[int, int] | None, Any]:
    """Returns the size to resize to, and that of the crop."""
    resize = _side(options["size"], square=kind in _SQUARES)
    crop = _side(options["crop_size"], square=True) if options.get("do_center_crop") else None
    if isinstance(crop, int):
        raise ValueError(f"crop_size: {options['crop_size']!r}; expected height and width")
    if not options["do_resize"]:
        return None, crop
    if kind == "ConvNextImageProcessor":
        if not isinstance(resize, int):
            raise ValueError(f"size: {options['size']!r}; expected shortest_edge")
        if resize >= NO_CROP_FROM:
            return (resize, resize), crop
        if crop not in (None, (resize, resize)):
            raise ValueError(f"crop_size: {options['crop_size']!r}; expected that of size")
        return int(resize / options["crop_pct"]), (resize, resize)
    return resize, crop


def _side(size: Any, *, square: bool) -> int | tuple[int, int]:
    """Returns the length of the shorter side, or height and width."""
    if isinstance(size, list):
        height, width = size
        size = {"height": height, "width": width}
    if isinstance(size, dict):
        values = size
    else:
        values = {"height": size, "width": size} if square else {"shortest_edge": size}
    for number in values.values():
        if type(number) is not int or number < 1:
            raise ValueError(f"size: {size!r}; expected numbers of pixels")
    if values.keys() == {"shortest_edge"}:
        return int(values["shortest_edge"])
    if values.keys() == {"height", "width"}:
        return int(values["height"]), int(values["width"])
    raise ValueError(f"size: {size!r}; the zoo knows height and width, or shortest_edge")


def _colors(options: Mapping[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation for pixels in [0, 1], whatever they are rescaled by."""
    factor = options["rescale_factor"] * 255 if options["do_rescale"] else 255.0
    mean, std = (0.0, 1.0)
    if options["do_normalize"]:
        mean, std = options["image_mean"], options["image_std"]
    pairs = [each if isinstance(each, list | tuple) else (each,) * channels for each in (mean, std)]
    if any(len(each) != channels for each in pairs):
        raise ValueError(f"image_mean: {mean!r}, image_std: {std!r}; the images have {channels} channels")
    means, deviations = (tuple(float(value) / factor for value in each) for each in pairs)
    if not all(value > 0 for value in deviations):
        raise ValueError(f"image_std: {std!r}; expected numbers above 0")
    return means, deviations
