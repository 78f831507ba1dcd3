"""Tiny models of transformers with random weights, by model type, and texts, images and sounds for them."""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import torch
import transformers
from torch import Tensor, nn

MODELS: dict[str, Any] = json.loads(Path(__file__).with_name("porting.json").read_text(encoding="utf-8"))
NAMES: list[str] = MODELS["transformers"]  # model types that AutoModel builds from a tiny configuration
SMALL: dict[str, Any] = MODELS["small"]  # settings of whatever configuration has them
OWN: dict[str, dict[str, Any]] = MODELS["own"]  # settings of one model type

FREE = (  # take images of any size
    *("convnext", "convnextv2", "resnet", "regnet", "bit", "mobilenet_v1", "mobilenet_v2", "efficientnet"),
    *("poolformer", "segformer", "pvt_v2", "textnet", "swiftformer", "superpoint", "focalnet"),
)
CODECS = ("encodec", "dac", "mimi")
VIDEOS = ("videomae", "vivit", "timesformer", "xclip")
NO_SETTINGS = ("model_type", "transformers_version", "architectures", "torch_dtype", "dtype")


class Floats(nn.Module):
    """Calls a model by names, and gives the floating-point tensors of what it returns."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Any:
        given = dict(zip(self.names, (first, second, third), strict=False))
        return tuple(_floats(self.model(**given)))


def _floats(tree: Any) -> Iterator[Tensor]:
    match tree:
        case Tensor():
            if tree.is_floating_point():
                yield tree
        case Mapping():
            for each in tree.values():
                yield from _floats(each)
        case tuple() | list():
            for each in tree:
                yield from _floats(each)


def model_of(name: str) -> Floats:
    """The model of a type, in eval mode and without caches."""
    config = _tiny(transformers.CONFIG_MAPPING[name](), OWN.get(name, {}))
    for each in (config, *vars(config).values()):
        if hasattr(each, "use_cache"):
            each.use_cache = False
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    return Floats(model, tuple(_inputs(model)))


def _tiny(config: Any, own: Mapping[str, Any]) -> Any:
    """The same configuration with few layers and features."""
    given = {key: each for key, each in config.to_dict().items() if key not in NO_SETTINGS}
    for key, old in given.items():
        new = SMALL.get(key)
        known = new is not None and old is not None and not isinstance(old, dict)
        if known and isinstance(old, list | tuple) == isinstance(new, list | tuple):
            given[key] = new
        elif "drop" in key and isinstance(old, float):
            given[key] = 0.0
        elif key in ("layer_types", "mlp_layer_types") and isinstance(old, list):
            given[key] = _two(old)
        elif isinstance(old, dict) and key.endswith("_config") and "model_type" in old:
            given[key] = _tiny(getattr(config, key), {})
    return type(config)(**given | own)


def _two(kinds: list[str]) -> list[str]:
    """The first two kinds of layers, if there are two."""
    return kinds[:2] if len({*kinds}) == 1 else [kinds[0], next(each for each in kinds if each != kinds[0])]


def _inputs(model: Any) -> Iterator[str]:
    """Names of the arguments that a model is called with."""
    takes = inspect.signature(model.forward).parameters
    has_images = "pixel_values" in takes and "input_ids" in takes
    first = "input_ids" if has_images else model.main_input_name
    yield first
    if first == "input_ids":
        yield "attention_mask"
    if has_images and model.config.model_type != "flava":
        yield "pixel_values"
    elif "noise" in takes and first == "pixel_values":
        yield "noise"
    elif "decoder_input_ids" in takes and first != "pixel_values":
        yield "decoder_input_ids"


def inputs_for(module: Floats, *, again: bool) -> list[Tensor]:
    """Random inputs, of which all but one text have padding; the second time more and longer ones."""
    batch, length = (3, 17) if again else (2, 12)
    config = module.model.config
    if config.model_type == "canine":
        length = 24 if again else 16
    generator = torch.Generator().manual_seed(batch)
    made = []
    for name in module.names:
        match name:
            case "input_ids":
                made.append(torch.randint(5, 90, (batch, length), generator=generator))
            case "decoder_input_ids":
                short = length - 3 if module.names[0] != "input_values" else 5
                made.append(torch.randint(5, 90, (batch, short), generator=generator))
            case "attention_mask":
                made.append((torch.arange(length) < length - 2 - torch.arange(batch)[:, None]).long())
                made[-1][-1] = 1
            case _:
                shape = _shape(config, name, again=again)
                made.append(torch.randn(batch, *shape, generator=generator))
    return made


def _shape(config: Any, name: str, *, again: bool) -> tuple[int, ...]:
    """The shape of an image, a sound, its features, or a series of numbers."""
    kind = config.model_type
    match name:
        case "pixel_values":
            return _image(config, again=again)
        case "noise":  # which picks the patches that are masked
            return ((config.image_size // config.patch_size) ** 2,)
        case "input_values" if kind == "audio-spectrogram-transformer":
            return config.max_length, config.num_mel_bins
        case "input_values" if kind in CODECS:
            return 1, 480 if again else 320
        case "input_values":
            return (520 if again else 400,)
        case "input_features" if kind == "whisper":
            return 16, 48
        case "input_features" if kind == "speech_to_text":
            return 32 if again else 24, 16
        case "input_features":
            return 30 if again else 24, getattr(config, "feature_projection_input_dim", 16)
    return config.context_length, getattr(config, "num_input_channels", 1)


def _image(config: Any, *, again: bool) -> tuple[int, ...]:
    if config.model_type in FREE:
        return 3, *((96, 96) if again else (64, 64))
    inner = getattr(config, "vision_config", None)
    size = getattr(config, "image_size", None) or getattr(inner, "image_size", None) or 32
    sizes = tuple(size) if isinstance(size, list | tuple) else (size, size)
    frames = (config.num_frames, 3) if config.model_type in VIDEOS else (getattr(config, "num_channels", 3),)
    return *frames, *sizes
