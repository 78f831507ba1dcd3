"""Makes torchvision importable beside a torch without CUDA, for which its wheels on PyPI are not built."""

from tests.reference.published import declare_operators

declare_operators()
