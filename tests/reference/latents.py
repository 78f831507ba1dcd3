"""PyTorch models of autoencoders for latents, with diffusers' names."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, before, eps=1e-6)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, after, eps=1e-6)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.conv_shortcut(x) if self.conv_shortcut else x) + y


class Attention(nn.Module):
    """With the names that diffusers had before its version 0.15, or those that it has had since."""

    def __init__(self, channels: int, groups: int, old: bool) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.names = ("query", "key", "value") if old else ("to_q", "to_k", "to_v")
        for name in self.names:
            setattr(self, name, nn.Linear(channels, channels))
        last = nn.Linear(channels, channels)
        self.proj_attn, self.to_out = (last, None) if old else (None, nn.ModuleList([last]))

    def forward(self, x: Tensor) -> Tensor:
        y = self.group_norm(x).flatten(2).mT
        q, k, v = (getattr(self, name)(y) for name in self.names)
        y = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return x + (self.proj_attn or self.to_out[0])(y).mT.reshape(x.shape)


class Sampler(nn.Module):
    """A convolution that halves the sides of images padded below and on the right, or one after doubling."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=2 - stride)

    def forward(self, x: Tensor) -> Tensor:
        halves = self.conv.stride[0] == 2
        return self.conv(F.pad(x, (0, 1, 0, 1)) if halves else F.interpolate(x, scale_factor=2))


class Stage(nn.Module):
    def __init__(self, before: int, after: int, depth: int, groups: int, change: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            Residual(after if index else before, after, groups) for index in range(depth)
        )
        self.change = change
        if change:
            setattr(self, change, nn.ModuleList([Sampler(after, 2 if change == "downsamplers" else 1)]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.resnets, *(getattr(self, self.change) if self.change else ())):
            x = layer(x)
        return x


class Middle(nn.Module):
    def __init__(self, channels: int, groups: int, attention: bool, old: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, groups, old)] if attention else [])

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x)
        return x


class Half(nn.Module):
    """The encoder, whose block with attention is its last, or the decoder, whose is its first."""

    def __init__(
        self,
        ends: tuple[int, int],
        widths: Sequence[int],
        depth: int,
        groups: int,
        old: bool,
        **options: bool,
    ) -> None:
        super().__init__()
        encodes = widths[0] < widths[-1]
        self.conv_in = nn.Conv2d(ends[0], widths[0], 3, padding=1)
        change = "downsamplers" if encodes else "upsamplers"
        pairs = zip((widths[0], *widths), widths, strict=False)
        blocks = nn.ModuleList(
            Stage(before, after, depth, groups, change if index < len(widths) - 1 else "")
            for index, (before, after) in enumerate(pairs)
        )
        self.down_blocks, self.up_blocks = (blocks, None) if encodes else (None, blocks)
        self.mid_block = Middle(widths[-1 if encodes else 0], groups, options.get("attention", True), old)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], ends[1], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        down, up = self.down_blocks, self.up_blocks
        for block in (*down, self.mid_block) if up is None else (self.mid_block, *up):
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class AutoencoderKL(nn.Module):
    def __init__(
        self,
        widths: Sequence[int],
        depth: int,
        latents: int,
        groups: int,
        quantized: bool = True,
        old: bool = False,
        **options: bool,
    ) -> None:
        super().__init__()
        self.encoder = Half((3, 2 * latents), widths, depth, groups, old, **options)
        self.decoder = Half((latents, 3), widths[::-1], depth + 1, groups, old, **options)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1) if quantized else None
        self.post_quant_conv = nn.Conv2d(latents, latents, 1) if quantized else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.encoder(images)
        mean, logvar = (self.quant_conv(x) if self.quant_conv else x).chunk(2, 1)
        latents = self.post_quant_conv(mean) if self.post_quant_conv else mean
        return self.decoder(latents), mean, logvar.clamp(-30, 20)


class TinyBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def tiny(width: int, ends: tuple[int, int], blocks: Sequence[int], *, encodes: bool) -> nn.Module:
    """The layers of TAESD's encoder, or of its decoder."""
    inner = {"kernel_size": 3, "padding": 1}
    layers: list[nn.Module] = [nn.Conv2d(ends[0], width, **inner), *([] if encodes else [nn.ReLU()])]
    for index, count in enumerate(blocks):
        if index and encodes:
            layers.append(nn.Conv2d(width, width, stride=2, bias=False, **inner))
        elif index:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, bias=False, **inner)]
        layers += [TinyBlock(width) for _ in range(count)]
    return nn.Sequential(*layers, nn.Conv2d(width, ends[1], **inner))


class TAESD(nn.Module):
    def __init__(
        self, widths: tuple[int, int], latents: int, encoder: Sequence[int], decoder: Sequence[int]
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.layers = tiny(widths[0], (3, latents), encoder, encodes=True)
        self.decoder.layers = tiny(widths[1], (latents, 3), decoder, encodes=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encoder.layers((images + 1) / 2))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder.layers(3 * torch.tanh(latents / 3)) * 2 - 1
