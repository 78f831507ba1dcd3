"""Cases of mixer."""

from functools import partial
from typing import Any

from tests.cases.case import Case, images
from tests.reference import published

_SIZES = {"image_size": [24, 40], "patch_size": 8, "width": 24, "depth": 2, "num_classes": 5}


def _resmlp(**options: Any) -> Any:
    return published.timm_mixer(residual=True, mlp_ratio=2, **options)


CASES = {
    "mixer": Case(
        "mixer",
        {**_SIZES, "token_mlp": 16, "feed_forward": 36},
        partial(published.timm_mixer, mlp_ratio=(2 / 3, 1.5)),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "resmlp": Case(
        "mixer",
        {**_SIZES, "kind": "resmlp", "feed_forward": 48},
        _resmlp,
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
}
DROPOUT_CASES = {
    "mixer": Case(
        "mixer",
        {**_SIZES, "dropout": 0.2, "stochastic_depth": 0.5},
        partial(published.timm_mixer, proj_drop_rate=0.2, drop_path_rate=0.5),
        [images(3, 24, 40, 3)],
        layout="timm",
    )
}
