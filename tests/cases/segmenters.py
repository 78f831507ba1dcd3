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
SEGFORMER = {
    "num_classes": 5,
    "widths": [8, 12, 16, 20],
    "blocks": [1, 2, 1, 1],
    "heads": [1, 2, 2, 4],
    "decoder_width": 12,
}
# Three: two have the same sum in either order, and how far PyTorch is from itself would not show.
WIDE = images(3, 40, 72, 3)
STILL = {"drop_path": 0.0, "classifier_dropout": 0.0}
CASES["segformer"] = Case(
    "segformer",
    {**SEGFORMER, **STILL},
    published.transformers_segformer,
    [WIDE],
    layout="transformers5",
)
CASES["segformer, classifier"] = Case(
    "segformer",
    {**SEGFORMER, **STILL, "head": "classification"},
    partial(published.transformers_segformer, "SegformerForImageClassification"),
    [WIDE],
    layout="transformers5",
    slow=True,
)
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
DROPOUT_CASES["segformer"] = Case(
    "segformer",
    {**SEGFORMER, **STILL, "dropout": 0.3, "attention_dropout": 0.3},
    partial(published.transformers_segformer, rate=0.3),
    [WIDE],
    layout="transformers5",
)
DROPOUT_CASES["segformer, classifier"] = Case(
    "segformer",
    {**SEGFORMER, **STILL, "classifier_dropout": 0.3},
    partial(published.transformers_segformer, classifier_rate=0.3),
    [WIDE],
    layout="transformers5",
    drops_maps=True,
)
