"""Cases of segmentation."""

from functools import partial

from tests.cases.case import Case, images
from tests.reference import published

CASES = {
    f"segmentation, {head}": Case(
        "segmentation",
        {
            "head": head,
            "backbone_config": {"blocks": [1, 1, 1, 1]},
            "num_classes": 5,
            "aux_logits": True,
            "dropout": 0.0,
            "aux_dropout": 0.0,
        },
        partial(published.torchvision_segmenter, head),
        [images(2, 40, 72, 3)],
        layout="torchvision",
        slow=head == "deeplab",
    )
    for head in ("fcn", "deeplab")
}
CASES["segmentation, lraspp"] = Case(
    "segmentation",
    {
        "head": "lraspp",
        "backbone": "mobilenet_v3_large",
        "backbone_config": {"blocks": published.MOBILE_BLOCKS},
        "num_classes": 5,
    },
    published.torchvision_lraspp,
    [images(2, 40, 72, 3)],
    layout="torchvision",
)

DROPOUT_CASES = {
    f"segmentation, {head}": Case(
        "segmentation",
        {**CASES[f"segmentation, {head}"].config, "dropout": 0.3, "aux_dropout": 0.3},
        partial(published.torchvision_segmenter, head, dropout=0.3),
        [images(2, 40, 72, 3)],
        layout="torchvision",
        slow=head == "deeplab",
        drops_maps=True,
    )
    for head in ("fcn", "deeplab")
}
