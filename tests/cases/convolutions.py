"""Cases of convnext, efficientnet, mobilenet, mnasnet and regnet."""

from tests.cases.case import Case, images
from tests.reference import published

CONVNEXT = {"blocks": [1, 2], "widths": [8, 16], "num_classes": 5, "stochastic_depth": 0.0}
EFFICIENTNET = {"variant": "v2_s", "width": 0.125, "depth": 0.1, "num_classes": 5}
REGNET = {"blocks": [1, 2], "widths": [8, 16], "group_width": 4, "num_classes": 5}
NO_DROPOUT = {"dropout": 0.0, "stochastic_depth": 0.0}

CASES = {
    "convnext": Case(
        "convnext",
        CONVNEXT,
        lambda: published.torchvision_convnext(),
        [images(2, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "efficientnet": Case(
        "efficientnet",
        EFFICIENTNET | NO_DROPOUT,
        lambda: published.torchvision_efficientnet(dropout=0.0, stochastic_depth_prob=0.0),
        [images(3, 40, 56, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "mobilenet v2": Case(
        "mobilenet",
        {"blocks": [[1, 8, 1, 1], [3, 16, 2, 2]], "width": 0.5, "num_classes": 5, "dropout": 0.0},
        lambda: published.torchvision_mobilenet_v2(
            inverted_residual_setting=[[1, 8, 1, 1], [3, 16, 2, 2]],
            width_mult=0.5,
            num_classes=5,
            dropout=0.0,
        ),
        [images(3, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "mobilenet v3": Case(
        "mobilenet",
        {
            "variant": "v3_small",
            "blocks": [[3, 16, 16, "relu", 1, True], [5, 40, 24, "hard_swish", 2]],
            "num_classes": 5,
            "dropout": 0.0,
        },
        lambda: published.torchvision_mobilenet_v3(
            [(16, 3, 16, 16, True, "RE", 1), (16, 5, 40, 24, False, "HS", 2)],
            last_channel=1024,
            num_classes=5,
            dropout=0.0,
        ),
        [images(3, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "mnasnet": Case(
        "mnasnet",
        {"blocks": [1, 1, 1, 2, 1, 1], "width": 0.1, "num_classes": 5, "dropout": 0.0},
        lambda: published.torchvision_mnasnet([1, 1, 1, 2, 1, 1], alpha=0.1, num_classes=5, dropout=0.0),
        [images(3, 40, 72, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "regnet": Case(
        "regnet",
        REGNET,
        lambda: published.torchvision_regnet(),
        [images(3, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
}

DROPOUT_CASES = {
    "convnext": Case(
        "convnext",
        CONVNEXT | {"stochastic_depth": 0.6},
        lambda: published.torchvision_convnext(stochastic_depth_prob=0.6),
        [images(4, 20, 33, 3)],
        layout="torchvision",
    ),
    "efficientnet": Case(
        "efficientnet",
        EFFICIENTNET | {"stochastic_depth": 0.6, "dropout": 0.3},
        lambda: published.torchvision_efficientnet(dropout=0.3, stochastic_depth_prob=0.6),
        [images(4, 40, 56, 3)],
        layout="torchvision",
    ),
}
