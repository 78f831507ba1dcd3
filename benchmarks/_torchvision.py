"""Makes torchvision importable beside a torch without CUDA, for which its wheels on PyPI are not built."""

import torch

# Its import stops at two missing operators, which its Python models never call; declaring them is enough.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
if not hasattr(torch.ops.torchvision, "nms"):
    LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
