"""Models of timm: their published weights, the options that build them, and their modules without numbers."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch

import torch

from scripts import timm_blocks, timm_configs
from scripts.timm_terms import Model, UnknownOptionError
from tests.reference.published import declare_operators

# Files of timm whose classes the zoo has, or some of them.
FILES = (
    "beit",
    "convnext",
    "deit",
    "densenet",
    "efficientnet",
    "eva",
    "hardcorenas",
    "inception_v3",
    "mlp_mixer",
    "mobilenetv3",
    "regnet",
    "resnet",
    "swin_transformer",
    "swin_transformer_v2",
    "vgg",
    "vision_transformer",
)


class Version(NamedTuple):
    """One of timm's published weights.

    Attributes:
        name: timm's, with its tag.
        kind: Name of timm's class.
        options: Keywords of that class.
        cfg: timm's record of the weights.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    cfg: Any

    @property
    def model(self) -> str:
        """Returns the name without the tag."""
        return self.name.partition(".")[0]

    @property
    def sides(self) -> tuple[int, int]:
        """Returns height and width of the images."""
        _, height, width = self.cfg.input_size
        return height, width

    @property
    def default(self) -> bool:
        """Returns whether timm loads these weights for the plain name."""
        import timm

        return bool(timm.get_pretrained_cfg(self.model).tag == self.cfg.tag)

    def zoo(self) -> Model:
        """Returns the same in the zoo's terms.

        Raises:
            UnknownOptionError: the zoo does not have it.
        """
        classes = self.cfg.num_classes
        try:
            return timm_configs.model(self.kind, self.options, self.sides, classes)
        except UnknownOptionError:
            if self.kind not in timm_configs.LISTED:
                raise
        return timm_configs.told(timm_blocks.network(self.module()), classes)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Returns what the shapes of its tensors depend on."""
        return self.model, self.sides, self.cfg.num_classes

    def module(self) -> torch.nn.Module:
        """Returns timm's module with the shapes of these weights, and no numbers."""
        return _module(self)


_modules_of: dict[tuple[Any, ...], torch.nn.Module] = {}


def _module(version: Version) -> torch.nn.Module:
    import timm

    if version.shape not in _modules_of:
        with torch.device("meta"):
            _modules_of[version.shape] = timm.create_model(version.name)
    return _modules_of[version.shape]


def versions(patterns: Iterable[str] = ("*",)) -> list[Version]:
    """Returns all published weights of models in FILES whose names match a pattern, sorted."""
    declare_operators()
    import timm

    names = [name for file in FILES for name in timm.list_models(module=file, pretrained=True)]
    chosen = sorted(name for name in names if any(fnmatchcase(name, each) for each in patterns))
    return [_version(name) for name in dict.fromkeys(chosen)]


def _version(name: str) -> Version:
    import timm

    kind, options = _built_of(name.partition(".")[0])
    return Version(name=name, kind=kind, options=options, cfg=timm.get_pretrained_cfg(name))


class _CalledError(Exception):
    """timm builds a module."""


def _called(kind: Any, variant: str, pretrained: bool = False, **options: Any) -> NoReturn:
    raise _CalledError(kind.__name__, options)


@cache
def _built_of(model: str) -> tuple[str, Mapping[str, Any]]:
    """Returns the class that timm makes a model of, and the class's keywords."""
    from timm.models import model_entrypoint

    with ExitStack() as stack:
        for module in _modules():
            stack.enter_context(patch.object(module, "build_model_with_cfg", _called))
        try:
            model_entrypoint(model)()
        except _CalledError as call:
            kind, options = call.args
            return kind, {
                name: value for name, value in options.items() if name not in timm_configs.IRRELEVANT
            }
    raise AssertionError(f"timm builds {model} in another way")


@cache
def _modules() -> tuple[Any, ...]:
    """Returns timm's modules that build models by its common function."""
    return tuple(_with_builder())


def _with_builder() -> Iterator[Any]:
    import timm.models

    for each in pkgutil.iter_modules(timm.models.__path__):
        if each.name in FILES:
            module = importlib.import_module(f"timm.models.{each.name}")
            if hasattr(module, "build_model_with_cfg"):
                yield module
