"""Stochastic depth as torch code has it, and the source of modules that train."""

import inspect

import torch
from torch import nn

from converters.porting.port import Written, write


class DropPath(nn.Module):
    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if not self.training:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.drop_prob)
        return x * kept / (1 - self.drop_prob)


class StochasticDepth(nn.Module):
    """Stands for torchvision's, whose name and attributes it has."""

    def __init__(self, p, mode):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x):
        kept = torch.empty([1] * x.ndim).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p) if self.training else x


def drop_path(x, rate, training):
    if rate == 0 or not training:
        return x
    kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - rate)
    return x * kept.div_(1 - rate)


def ported(module: nn.Module, *sizes: tuple[int, ...], count: int = 1) -> Written:
    bind = inspect.signature(module.forward).bind
    return write(
        module.eval(), *(bind(*(torch.randn(size) for _ in range(count))).arguments for size in sizes)
    )
