"""PyTorch models written independently of zoo/: what the Flax architectures must equal."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    def __init__(self, inputs: int = 784, sizes: Sequence[int] = (128, 10)) -> None:
        super().__init__()
        widths = [inputs, *sizes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, sizes, strict=False))

    def forward(self, x: Tensor) -> Tensor:
        # The Flax model flattens images with their channels last.
        x = x.movedim(1, -1).flatten(1)
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class CNN(nn.Module):
    def __init__(self, height: int = 28, width: int = 28, channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(channels, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)])
        self.fc1 = nn.Linear(64 * (height // 4) * (width // 4), 256)
        self.fc2 = nn.Linear(256, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.avg_pool2d(torch.relu(conv(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class FeedForward(nn.Module):
    def __init__(self, sizes: Sequence[int], last: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.last(self.layers[-1](x))


class VAE(nn.Module):
    """Images are (batch, channels, height, width); the noise of the latent is an input."""

    def __init__(
        self,
        channels: int = 1,
        height: int = 28,
        width: int = 28,
        latent: int = 32,
        output: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.shape = (height, width, channels)
        pixels = math.prod(self.shape)
        self.encoder = FeedForward([pixels, 256, 128, 64])
        self.pre_latent = nn.Linear(64, 2 * latent)
        self.post_latent = nn.Linear(latent, 64)
        self.class_proj = nn.Linear(10, 64)
        self.decoder = FeedForward([64, 128, 256, pixels], output)

    def forward(self, images: Tensor, labels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.pre_latent(self.encoder(images.movedim(1, -1).flatten(1)))
        mean, logvar = hidden.chunk(2, dim=1)
        latents = mean + noise * (logvar / 2).exp()
        return self.decode(latents, labels), mean, logvar

    def decode(self, latents: Tensor, labels: Tensor) -> Tensor:
        classes = F.one_hot(labels, 10).to(latents.dtype)
        images = self.decoder(self.post_latent(latents) + self.class_proj(classes))
        return images.unflatten(1, self.shape).movedim(-1, 1)


class CifarBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = outputs // inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            # Half of the new channels before the old ones, half after.
            zeros = torch.zeros_like(x[:, ::2, ::2, ::2])
            x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
        return F.relu(x + y)


class CifarResNet(nn.Module):
    """Section 4.2 of the ResNet paper with option A, under the names of akamaster/pytorch_resnet_cifar10."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        count = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for index, width in enumerate((16, 32, 64), start=1):
            first = CifarBlock(width if index == 1 else width // 2, width)
            rest = [CifarBlock(width, width) for _ in range(count - 1)]
            self.add_module(f"layer{index}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class TokenEmbedding(nn.Module):
    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        position = torch.arange(ids.shape[1], dtype=x.dtype)[:, None]
        for column in range(x.shape[2]):
            angle = position[:, 0] * math.exp(-(column // 2 * 2) * math.log(10000) / x.shape[2])
            wave = angle.cos() if column % 2 else angle.sin()
            x = x + F.pad(wave[:, None], (column, x.shape[2] - column - 1))
        return x


class Transformer(nn.Module):
    """torch.nn.Transformer between embeddings and a head; its options are that one's."""

    def __init__(self, vocab: tuple[int, int] = (11, 13), **options: Any) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # With norm_first it says that its encoder cannot take nested tensors.
            warnings.simplefilter("ignore")
            self.transformer = nn.Transformer(batch_first=True, **options)
        width = self.transformer.d_model
        self.src_tok_emb = TokenEmbedding(vocab[0], width)
        self.tgt_tok_emb = TokenEmbedding(vocab[1], width)
        self.generator = nn.Linear(width, vocab[1])
        self.dropout = nn.Dropout(options["dropout"])

    def forward(self, source: Tensor, target: Tensor, kept: Tensor, target_kept: Tensor) -> Tensor:
        later = torch.ones(target.shape[1], target.shape[1]).triu(1).bool()
        return self.generator(
            self.transformer(
                self.dropout(self.src_tok_emb(source)),
                self.dropout(self.tgt_tok_emb(target)),
                tgt_mask=later,
                src_key_padding_mask=kept == 0,
                tgt_key_padding_mask=target_kept == 0,
                memory_key_padding_mask=kept == 0,
            )
        )
