"""Cases of convnext, efficientnet, mobilenet, mnasnet and regnet."""

from functools import partial

from torch import nn

from tests.cases.case import Case, images
from tests.reference import published

CONVNEXT = {"blocks": [1, 2], "widths": [8, 16], "num_classes": 5, "stochastic_depth": 0.0}
EFFICIENTNET = {"variant": "v2_s", "width": 0.125, "depth": 0.1, "num_classes": 5}
REGNET = {"blocks": [1, 2], "widths": [8, 16], "width_per_group": 4, "num_classes": 5}
MOBILENET = {
    2: {"blocks": [[1, 8, 1, 1], [3, 16, 2, 2]], "width": 0.5, "num_classes": 5},
    3: {
        "variant": "v3_small",
        "blocks": [[3, 16, 16, "relu", 1, True], [5, 40, 24, "hard_swish", 2]],
        "num_classes": 5,
    },
}
MNASNET = {"blocks": [1, 1, 1, 2, 1, 1], "width": 0.1, "num_classes": 5}
NO_DROPOUT = {"dropout": 0.0, "stochastic_depth": 0.0}


def _mobilenet(version: int, dropout: float) -> nn.Module:
    if version == 2:
        return published.torchvision_mobilenet_v2(
            inverted_residual_setting=[[1, 8, 1, 1], [3, 16, 2, 2]],
            width_mult=0.5,
            num_classes=5,
            dropout=dropout,
        )
    return published.torchvision_mobilenet_v3(
        [(16, 3, 16, 16, True, "RE", 1), (16, 5, 40, 24, False, "HS", 2)],
        last_channel=1024,
        num_classes=5,
        dropout=dropout,
    )


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
        MOBILENET[2] | {"dropout": 0.0},
        partial(_mobilenet, 2, dropout=0.0),
        [images(3, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "mobilenet v3": Case(
        "mobilenet",
        MOBILENET[3] | {"dropout": 0.0},
        partial(_mobilenet, 3, dropout=0.0),
        [images(3, 20, 33, 3)],
        layout="torchvision",
        norms=1.0,
    ),
    "mnasnet": Case(
        "mnasnet",
        MNASNET | {"dropout": 0.0},
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
    "convnext v2, timm, features": Case(
        "convnext",
        {
            "blocks": [1, 1, 1, 1],
            "widths": [8, 12, 16, 16],
            "num_classes": 0,
            "response_norm": True,
            "layer_scale": 0,
            "stochastic_depth": 0.0,
        },
        lambda: published.timm_model(
            "convnextv2_atto", depths=(1, 1, 1, 1), dims=(8, 12, 16, 16), num_classes=0
        ),
        [images(2, 40, 57, 3)],
        layout="timm_convolutions",
        slow=True,
    ),
    "convnext, timm, overlapping, hidden": Case(
        "convnext",
        {
            "blocks": [1, 1, 1, 1],
            "widths": [16, 8, 16, 16],
            "num_classes": 5,
            "stochastic_depth": 0.0,
            "stem": "overlap_tiered",
            "hidden": 12,
        },
        lambda: published.timm_model(
            "convnext_tiny",
            depths=(1, 1, 1, 1),
            dims=(16, 8, 16, 16),
            num_classes=5,
            stem_type="overlap_tiered",
            head_hidden_size=12,
        ),
        [images(2, 40, 57, 3)],
        layout="timm",
        slow=True,
    ),
    **{
        f"{name}, timm": Case(
            "efficientnet",
            {
                "variant": variant,
                "width": 0.25,
                "depth": 0.3,
                "num_classes": 5,
                "epsilon": 1e-3,
                "same_padding": True,
                **NO_DROPOUT,
            },
            partial(published.timm_efficientnet, name),
            [images(2, 40, 57, 3)],
            layout=layout,
            norms=1.0,
            slow=True,
        )
        for name, variant, layout in (
            ("tf_efficientnet_b0", "b0", "timm"),
            ("tf_efficientnet_lite0", "lite0", "timm"),
            ("tf_efficientnetv2_b0", "v2_b0", "timm_v2"),
        )
    },
    **{
        f"{name}, timm": Case(
            "regnet",
            {"variant": variant, "num_classes": 5},
            partial(published.timm_model, name, num_classes=5),
            [images(2, 40, 57, 3)],
            layout="timm",
            norms=1.0,
            slow=True,
        )
        for name, variant in (("regnetx_002", "x_200mf"), ("regnety_002", "y_200mf"))
    },
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
    **{
        f"mobilenet v{version}": Case(
            "mobilenet",
            MOBILENET[version] | {"dropout": 0.3},
            partial(_mobilenet, version, dropout=0.3),
            [images(4, 20, 33, 3)],
            layout="torchvision",
        )
        for version in MOBILENET
    },
    "mnasnet": Case(
        "mnasnet",
        MNASNET | {"dropout": 0.3},
        lambda: published.torchvision_mnasnet(MNASNET["blocks"], alpha=0.1, num_classes=5, dropout=0.3),
        [images(4, 40, 72, 3)],
        layout="torchvision",
    ),
}
