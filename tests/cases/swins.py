"""Cases of swin."""

from functools import partial

from tests.cases.case import Case, images
from tests.reference import published

SWIN = {"width": 8, "blocks": [2, 1], "heads": [2, 2], "window_size": 3, "stochastic_depth": 0.0}

CASES = {
    # Zeros fill windows of both stages up, and the odd sides between them.
    "swin": Case(
        "swin",
        {**SWIN, "num_classes": 5},
        lambda: published.torchvision_swin(num_classes=5),
        [images(2, 28, 44, 3)],
        layout="torchvision",
    ),
    "swin v2": Case(
        "swin",
        {**SWIN, "num_classes": 5, "version": 2},
        lambda: published.torchvision_swin(version=2, num_classes=5),
        [images(2, 28, 44, 3)],
        layout="torchvision",
        slow=True,
    ),
    "swin, timm, windows of the image's size": Case(
        "swin",
        {**SWIN, "image_size": [24, 48], "window_size": 4, "num_classes": 0, "in_channels": 1},
        lambda: published.timm_swin(img_size=(24, 48), window_size=4, num_classes=0, in_chans=1),
        [images(2, 24, 48, 1)],
        layout="timm",
        slow=True,
    ),
    "swin v2, timm, trained with other windows": Case(
        "swin",
        {
            **SWIN,
            "image_size": [24, 48],
            "num_classes": 5,
            "version": 2,
            "trained_window_size": [5, 3],
            "key_bias": False,
        },
        lambda: published.timm_swin(
            version=2, img_size=(24, 48), num_classes=5, pretrained_window_sizes=(5, 3)
        ),
        [images(2, 24, 48, 3)],
        layout="timm",
        slow=True,
    ),
}

DROPOUT_CASES = {
    f"swin v{version}": Case(
        "swin",
        {**SWIN, "version": version, "dropout": 0.2, "attention_dropout": 0.2, "stochastic_depth": 0.5},
        partial(
            published.torchvision_swin,
            version=version,
            dropout=0.2,
            attention_dropout=0.2,
            stochastic_depth_prob=0.5,
        ),
        [images(3, 28, 44, 3)],
        layout="torchvision",
    )
    for version in (1, 2)
}
