"""Values that a module keeps from its first call."""

import torch
from torch import nn

from converters.porting.caches import fresh
from converters.porting.port import write


class Biased(nn.Module):
    """Keeps its table in eval mode, as LeViT does."""

    def __init__(self):
        super().__init__()
        self.biases = nn.Parameter(torch.zeros(3))
        self.register_buffer("indices", torch.tensor([0, 2, 1, 0]), persistent=False)
        self.bias_cache = {}

    def forward(self, x):
        if "cpu" not in self.bias_cache:
            self.bias_cache["cpu"] = self.biases[self.indices]
        return x + self.bias_cache["cpu"]


def test_what_an_earlier_call_has_kept_is_no_constant():
    module = Biased().eval()
    module(torch.zeros(1, 4))  # keeps its table, with a gradient
    written = write(module, {"x": torch.zeros(2, 4)}, {"x": torch.zeros(3, 4)})
    assert "self.param('biases'" in written.source or 'self.param("biases"' in written.source
    assert module.bias_cache
    assert not fresh(module).bias_cache
