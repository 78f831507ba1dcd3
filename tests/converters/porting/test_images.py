"""Functions and layers of images: each ported, and compared with PyTorch in float64 at two sizes."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from converters.porting.port import write
from tests.equivalence import difference, randomise, state_dict
from tests.reference.published import declare_operators

SIZES = ((2, 4, 6, 8), (3, 4, 9, 12))


class Called(nn.Module):
    """A function, or several, as a module."""

    def __init__(self, *functions: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x):
        return [function(x) for function in self.functions]


class Layers(nn.Module):
    """Layers side by side."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return [layer(x) for layer in self.layers]


def differences(module: nn.Module, sizes=SIZES) -> list[float]:
    """Difference of each output at the second size, over the largest of PyTorch's.

    What were wrong at the first would be a number of it in the source, and wrong at the second.
    """
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.normal(size=size).astype(np.float32)) for size in sizes]
    module.eval()
    written = write(module, *({"x": each} for each in images))
    space: dict = {}
    exec(compile(written.source, "net", "exec"), space)
    made = space[written.root]()
    randomise(module)
    image = images[1].double()
    with torch.no_grad():
        expected = written.results(module(image))
    arrays = written.arrays({"x": image.numpy()})
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(module), made, *arrays)
        found = jax.device_get(jax.jit(made.apply)(variables, *arrays))
    return [difference(a, b.numpy()) for a, b in zip(found, expected, strict=True)]


def windows(x: torch.Tensor) -> torch.Tensor:
    """Cuts an image into windows of 3x4 pixels and puts them together again, as Swin and MaxViT do."""
    batch, features, height, width = x.shape
    x = x.view(batch, features, height // 3, 3, width // 4, 4).permute(0, 2, 4, 3, 5, 1)
    x = x.reshape(-1, 12, features).softmax(1)
    x = x.view(batch, height // 3, width // 4, 3, 4, features).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(batch, features, height, width)


def attention(x: torch.Tensor) -> torch.Tensor:
    """Attention of two heads, from an image and back."""
    batch, features = x.shape[:2]
    tokens = x.flatten(2).transpose(1, 2)
    q, k, v = (tokens * n for n in (1, 2, 3))
    q, k, v = (each.reshape(batch, -1, 2, features // 2).transpose(1, 2) for each in (q, k, v))
    out = (q @ k.transpose(-2, -1)).softmax(-1) @ v
    return out.transpose(1, 2).reshape(batch, -1, features).transpose(1, 2).view(x.shape)


FUNCTIONS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], ...]] = {
    "pooling": (
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, (3, 2), ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2),
        lambda x: F.max_pool2d(x, 2, 2, 1, dilation=(1, 2), ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 2, 3, divisor_override=3),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
        lambda x: F.adaptive_avg_pool2d(x, (None, 3)),
        lambda x: F.adaptive_max_pool2d(x, 4),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: F.max_pool1d(x.flatten(2), 3, 2, 1),
        lambda x: F.avg_pool1d(x.flatten(2), 3),
        lambda x: F.lp_pool2d(x.abs(), 2, 2),
    ),
    "interpolation": (
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, (7, 11)),
        lambda x: F.interpolate(x, (7, 11), mode="nearest-exact"),
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=(1.3, 2), mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
        lambda x: F.interpolate(x, (11, 5), mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, (11, 5), mode="bicubic"),
        lambda x: F.interpolate(x, (11, 5), mode="bicubic", align_corners=True),
        lambda x: F.interpolate(x, (11, 3), mode="bilinear", antialias=True),
        lambda x: F.interpolate(x, (4, 9), mode="bicubic", antialias=True),
        lambda x: F.interpolate(x, (3, 4), mode="area"),
        lambda x: F.interpolate(x.flatten(2), 9, mode="linear"),
        lambda x: F.interpolate(x[:, :, ::2, ::2], x.shape[-2:], mode="bilinear"),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "sampling": (
        *(
            lambda x, options=options: F.grid_sample(x, x[:, :2, :3].permute(0, 2, 3, 1), **options)
            for options in (
                {"align_corners": False},
                {"align_corners": True, "padding_mode": "border"},
                {"align_corners": True, "padding_mode": "reflection"},
                {"align_corners": False, "padding_mode": "reflection", "mode": "nearest"},
            )
        ),
        lambda x: F.affine_grid(x[:, 0, :2, :3], [len(x), 3, 4, 5], align_corners=False),
        lambda x: F.affine_grid(x[:, 0, :2, :3], [len(x), 3, 4, 5], align_corners=True),
    ),
    "layouts": (
        windows,
        attention,
        lambda x: x.flatten(1),
        lambda x: x * x[:, :, :1, :1] + x[0, :, 0, 0].view(-1, 1, 1) * x[0, 0, 0].view(1, 1, -1),
        lambda x: torch.addcmul(x, x[:, :, :1, :1], x, value=2),
        lambda x: x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
    ),
    "windows": (
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
        lambda x: F.channel_shuffle(x, 2),
        lambda x: F.unfold(x, 3),
        lambda x: F.unfold(x, (3, 2), dilation=(2, 1), padding=1, stride=(1, 2)),
        lambda x: F.fold(F.unfold(x, 2, stride=1), x.shape[-2:], 2),
        lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), x.shape[-2:], 3, padding=1, stride=2),
        lambda x: x.unfold(2, 3, 2),
        lambda x: x.unfold(3, 2, 1).sum(-1),
        lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"),
        lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"),
        lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
        nn.ZeroPad2d((1, 2, 0, -1)),
        lambda x: F.pad(x, (0, x.shape[3] % 5, 0, x.shape[2] % 4)),
    ),
    "normalization": (
        lambda x: F.local_response_norm(x, 3),
        lambda x: F.instance_norm(x),
        lambda x: F.group_norm(x, 2, x[0, :, 0, 0], x[1, :, 0, 0]),
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.batch_norm(x, x[0, :, 0, 0], x[1, :, 0, 0] ** 2, x[0, :, 1, 1], x[0, :, 0, 1]),
        lambda x: F.normalize(x, dim=1),
    ),
    "convolutions of arrays": (
        lambda x: F.conv2d(x, x[:, :2, :3, :3].transpose(0, 1)[:, :1].repeat(2, 4, 1, 1)),
        lambda x: F.conv2d(x, x[:1, :, :3, :3].transpose(0, 1), padding="same", groups=4),
        lambda x: F.conv_transpose2d(x, x[:1, :, :2, :2].transpose(0, 1), stride=2, output_padding=1),
    ),
    "Fourier transforms": (
        lambda x: torch.fft.fft2(x).real,
        lambda x: torch.fft.fft(torch.fft.fft(x, dim=-1), dim=1).imag,
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x, dim=(2, 3), norm="ortho"), dim=(2, 3), norm="ortho"),
        lambda x: torch.fft.fftshift(x, dim=(2, 3)),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_images_give_the_same_numbers(name):
    found = differences(Called(*FUNCTIONS[name]))
    assert max(found) < 1e-12, found


def test_windows_have_gradients():
    x = torch.arange(36.0).sin().reshape(1, 1, 6, 6)
    pools = Called(
        lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.adaptive_max_pool2d(x, 4),
    )
    written = write(pools, {"x": x}, {"x": torch.zeros(2, 1, 6, 6)})
    space: dict = {}
    exec(compile(written.source, "net", "exec"), space)
    made = space[written.root]()
    found = jax.grad(lambda x: sum((each**2).sum() for each in made.apply({}, x)))(
        x.permute(0, 2, 3, 1).numpy()
    )
    x.requires_grad_()
    sum((each**2).sum() for each in pools(x)).backward()
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), x.grad.numpy(), rtol=1e-5, atol=1e-6)


LAYERS = {
    "convolutions": lambda: Layers(
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=2, groups=2, bias=False),
        nn.Conv2d(4, 6, 3, padding="same"),
        nn.Conv2d(4, 6, (4, 3), padding="same", padding_mode="circular"),
        nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="reflect"),
        nn.Conv2d(4, 6, 3, padding=2, padding_mode="replicate", stride=2),
        nn.ConvTranspose2d(4, 6, 3),
        nn.ConvTranspose2d(4, 6, (3, 4), stride=2, padding=1, output_padding=(1, 0), dilation=(2, 1)),
        nn.ConvTranspose2d(4, 6, (5, 2), stride=2, padding=1, output_padding=1, groups=2),
    ),
    "normalization": lambda: Layers(
        nn.BatchNorm2d(4, momentum=0.3, eps=1e-3),
        nn.BatchNorm2d(4, affine=False),
        nn.GroupNorm(2, 4),
        nn.GroupNorm(1, 4, affine=False),
        nn.InstanceNorm2d(4),
        nn.InstanceNorm2d(4, affine=True),
        nn.LocalResponseNorm(3, alpha=0.1),
        nn.MaxPool2d(2, ceil_mode=True),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_images_give_the_same_numbers(name):
    found = differences(LAYERS[name]())
    assert max(found) < 1e-12, found


@pytest.mark.filterwarnings("ignore:the axes of")
def test_padding_that_depends_on_the_size_is_not_that_of_one_size():
    declare_operators()
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
    from timm.layers.std_conv import ScaledStdConv2dSame, StdConv2dSame

    module = Layers(
        *(Conv2dSame(4, 6, 3, stride=2, bias=False), MaxPool2dSame(3, 2), AvgPool2dSame(3, 2)),
        *(kind(4, 6, 3, stride=2) for kind in (StdConv2dSame, ScaledStdConv2dSame)),
    )
    assert max(differences(module, ((2, 4, 6, 8), (3, 4, 7, 9)))) < 1e-12


class Normalized(nn.BatchNorm2d):
    """A subclass that calls the function with its own arrays."""

    def forward(self, x):
        args = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *args, momentum=self.momentum, eps=self.eps).relu()


class Standardized(nn.Conv2d):
    """Weights that are standardized before use."""

    def forward(self, x):
        weight = F.batch_norm(self.weight.flatten(1)[None], None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.view_as(self.weight), self.bias, padding=1)


class Channels(nn.LayerNorm):
    """A layer norm of channels."""

    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def test_subclasses_of_layers_are_layers_where_they_are_called():
    module = Layers(Normalized(4), Channels(4), nn.Sequential(nn.Conv2d(4, 5, (2, 3)), Normalized(5)))
    assert max(differences(module)) < 1e-12
    source = write(module, *({"x": torch.zeros(size).double()} for size in SIZES)).source
    assert source.count("class ") == 2  # with that of the batch norm
    assert "transpose" not in source
    assert max(differences(Layers(Standardized(4, 6, (2, 3))))) < 1e-12
