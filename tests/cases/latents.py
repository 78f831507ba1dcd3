"""Cases of distances of images."""

from dataclasses import replace
from functools import partial

import numpy as np

from tests.cases.case import Case, images
from tests.reference.published import LPIPS

SQUEEZE = {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}
VGG = {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}
ALEX = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}


def pair(batch: int, height: int, width: int) -> list[np.ndarray]:
    """Images in [-1, 1] and others."""
    both = 2 * images(2 * batch, height, width, 3) - 1
    return [both[:batch], both[batch:]]


CASES = {
    "lpips": Case(
        "lpips",
        {"dropout": 0.0},
        partial(LPIPS, "alexnet", ALEX),
        pair(2, 35, 47),
        layout="lpips",
    ),
    "lpips, squeezenet": Case(
        "lpips",
        {"net": "squeeze", "dropout": 0.0},
        partial(LPIPS, "squeezenet1_1", SQUEEZE),
        pair(2, 35, 47),
        layout="lpips",
        slow=True,
    ),
    "lpips, vgg": Case(
        "lpips",
        {"net": "vgg", "dropout": 0.0},
        partial(LPIPS, "vgg16", VGG),
        pair(2, 16, 19),
        layout="lpips",
        slow=True,
    ),
}
DROPOUT_CASES = {
    "lpips, dropout": replace(
        CASES["lpips"],
        config={"dropout": 0.5},
        twin=partial(LPIPS, "alexnet", ALEX, dropout=0.5),
        drops_maps=True,
    )
}
