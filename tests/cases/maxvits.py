"""Cases of maxvit."""

from tests.cases.case import Case, images
from tests.reference import published

MAXVIT = {
    "stem_channels": 8,
    "widths": [8, 12],
    "blocks": [1, 1],
    "head_dim": 4,
    "partition_size": 3,
    "num_classes": 5,
    "stochastic_depth": 0.0,
}

CASES = {
    # torchvision's takes squares only.
    "maxvit": Case(
        "maxvit", MAXVIT, published.torchvision_maxvit, [images(2, 24, 24, 3)], layout="torchvision"
    ),
}
DROPOUT_CASES = {
    "maxvit": Case(
        "maxvit",
        {**MAXVIT, "dropout": 0.2, "attention_dropout": 0.2, "stochastic_depth": 0.5},
        lambda: published.torchvision_maxvit(
            mlp_dropout=0.2, attention_dropout=0.2, stochastic_depth_prob=0.5
        ),
        [images(3, 24, 24, 3)],
        layout="torchvision",
    ),
}
