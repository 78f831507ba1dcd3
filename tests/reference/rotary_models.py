"""Vision transformers of timm and transformers whose places are computed: here in float64, as all else.

Both libraries compute them in float32 whatever the model's dtype is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.reference.published import declare_operators, timm_vit, visual_output


@contextmanager
def float64_only() -> Iterator[None]:
    """Inside, what is or casts to float32 is or casts to float64."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with (
        patch.object(torch.Tensor, "float", torch.Tensor.double),
        patch.object(torch, "float32", torch.float64),
        patch.object(torch, "float", torch.float64),
    ):
        try:
            yield
        finally:
            torch.set_default_dtype(default)


@contextmanager
def float64_places() -> Iterator[None]:
    """Inside, timm's defaults are float64, too, which it has read before."""
    from timm.layers import pos_embed_sincos as places

    periods = places.RotaryEmbeddingDinoV3._compute_periods
    with (
        float64_only(),
        patch.object(places, "_build_grid", partial(places._build_grid, dtype=torch.float64)),
        patch.object(periods, "__defaults__", ("cpu", torch.float64)),
    ):
        yield


def timm_eva(**options: Any) -> nn.Module:
    declare_operators()
    from timm.models import eva

    class Eva(eva.Eva):
        def forward(self, x: Tensor) -> Any:
            with float64_places():
                return super().forward(x)

        def set_input_size(self, *sizes: Any) -> None:
            with float64_places():
                super().set_input_size(*sizes)

    if options.get("norm_layer") == "rms":
        from timm.layers import RmsNorm

        options["norm_layer"] = RmsNorm
    sizes = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    with float64_places():
        return Eva(**{**sizes, "mlp_ratio": 2, "num_classes": 5, **options})


def transformers_dinov3(name: str = "DINOv3ViTModel", **options: Any) -> nn.Module:
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Output(parent):
        def forward(self, x: Tensor) -> Any:
            with float64_only():
                return visual_output(super().forward(x))

    sizes = {"patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = parent.config_class(
        **{**sizes, "intermediate_size": 48, "pos_embed_rescale": None, **options}, attn_implementation="sdpa"
    )
    with float64_only():
        return Output(config)


def timm_beit(**options: Any) -> nn.Module:
    declare_operators()
    from timm.models import beit

    sizes = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return beit.Beit(**{**sizes, "mlp_ratio": 2, "num_classes": 5, "use_abs_pos_emb": False, **options})


def timm_aimv2(**options: Any) -> nn.Module:
    declare_operators()
    from timm.layers import RmsNorm, SwiGLU

    norm = partial(RmsNorm, eps=1e-5)
    return timm_vit(
        class_token=False,
        fc_norm=False,
        global_pool="avg",
        qkv_bias=False,
        proj_bias=False,
        act_layer="silu",
        norm_layer=norm,
        embed_norm_layer=norm,
        mlp_layer=SwiGLU,
        **options,
    )


def timm_post(**options: Any) -> nn.Module:
    declare_operators()
    from timm.models.vision_transformer import ResPostBlock

    return timm_vit(
        class_token=False,
        global_pool="avg",
        qkv_bias=False,
        init_values=1e-5,
        block_fn=ResPostBlock,
        **options,
    )


def transformers_beit(name: str, **options: Any) -> nn.Module:
    """Its "sdpa" attention: the softmax of the other is in float32 whatever the inputs are in."""
    declare_operators()
    import transformers

    parent = getattr(transformers, name)

    class Output(parent):
        def forward(self, x: Tensor) -> Any:
            return visual_output(super().forward(x))

    sizes = {"patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    rest = {"intermediate_size": 48, "image_size": 32, "drop_path_rate": 0.0, "use_mask_token": True}
    config = parent.config_class(**{**sizes, **rest, **options}, attn_implementation="sdpa")
    return Output(config)
