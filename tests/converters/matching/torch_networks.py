"""Ten networks in PyTorch, small, with the names and the order that their usual implementations have."""

import itertools

import torch
from torch import Tensor, nn


class DoubleConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet(nn.Module):
    """Its way up is declared before its way down."""

    def __init__(self, widths: tuple[int, ...] = (4, 8, 16)) -> None:
        super().__init__()
        self.ups, self.downs = nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for width in widths:
            self.downs.append(DoubleConv(inputs, width))
            inputs = width
        for width in reversed(widths):
            self.ups.append(nn.ConvTranspose2d(width * 2, width, 2, 2))
            self.ups.append(DoubleConv(width * 2, width))
        self.bottleneck = DoubleConv(widths[-1], widths[-1] * 2)
        self.final_conv = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for index in range(0, len(self.ups), 2):
            x = self.ups[index](x)
            x = self.ups[index + 1](torch.cat((skips.pop(), x), 1))
        return self.final_conv(x)


class DCGAN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.netG, self.netD = nn.Module(), nn.Module()
        self.netG.main = nn.Sequential(
            nn.ConvTranspose2d(6, 16, 4, 1, 0, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )
        self.netD.main = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 4, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 1, 4, 1, 0, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.netD.main(self.netG.main(x))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden2tag(self.lstm(self.word_embeddings(x))[0])


class SELayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4),
            nn.ReLU(),
            nn.Linear(channels // 4, channels),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class InvertedResidual(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Hardswish(),
            nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            SELayer(hidden),
            nn.Hardswish(),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class MobileNetV3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()),
            *(InvertedResidual(8, hidden) for hidden in (16, 24, 24, 16)),
        )
        self.conv = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(24, 16), nn.Hardswish(), nn.Dropout(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.conv(self.features(x)).mean((2, 3)))


class MBConv(nn.Module):
    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        hidden = width * expand
        if expand > 1:
            self._expand_conv = nn.Conv2d(width, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden)
        self._depthwise_conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden)
        self._se_reduce, self._se_expand = nn.Conv2d(hidden, 2, 1), nn.Conv2d(2, hidden, 1)
        self._project_conv = nn.Conv2d(hidden, width, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.silu(self._bn0(self._expand_conv(x))) if hasattr(self, "_bn0") else x
        y = nn.functional.silu(self._bn1(self._depthwise_conv(y)))
        gate = self._se_expand(nn.functional.silu(self._se_reduce(y.mean((2, 3), keepdim=True))))
        return x + self._bn2(self._project_conv(y * gate.sigmoid()))


class EfficientNet(nn.Module):
    """Its layers before and after the blocks are declared in the order of calls, its blocks between them."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self._blocks = nn.ModuleList([MBConv(8, expand) for expand in (1, 2, 2, 3)])
        self._conv_head, self._bn1 = nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16)
        self._fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(nn.functional.silu(self._bn1(self._conv_head(x))).mean((2, 3)))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))
        y = self.pwconv2(nn.functional.gelu(self.pwconv1(y))) * self.gamma
        return x + y.movedim(-1, 1)


class ConvNeXt(nn.Module):
    """Its downsampling layers are declared before all its stages, and called between them."""

    def __init__(self, widths: tuple[int, ...] = (4, 8, 16)) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0]))]
        )
        for one, other in itertools.pairwise(widths):
            self.downsample_layers.append(nn.Sequential(LayerNorm2d(one), nn.Conv2d(one, other, 2, 2)))
        self.stages = nn.ModuleList([nn.Sequential(*(ConvNeXtBlock(w) for _ in range(2))) for w in widths])
        self.norm, self.head = nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], 5)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.head(self.norm(x.mean((2, 3))))
