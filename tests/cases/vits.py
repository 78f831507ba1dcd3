"""Cases of vit."""

from functools import partial

from torch import nn

from tests.cases.case import Case, images
from tests.reference import published

VIT = {"patch_size": 8, "width": 24, "depth": 2, "heads": 3, "feed_forward": 48}

CASES = {
    "vit": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5},
        lambda: published.timm_vit(img_size=(24, 40), num_classes=5),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "vit, grey, features, no biases": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "in_channels": 1, "qkv_bias": False},
        lambda: published.timm_vit(img_size=(24, 40), num_classes=0, in_chans=1, qkv_bias=False),
        [images(3, 24, 40, 1)],
        layout="timm",
        slow=True,
    ),
    "deit": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "distilled": True},
        lambda: published.timm_vit(distilled=True, img_size=(24, 40), num_classes=5),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "deit, features": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "distilled": True},
        lambda: published.timm_vit(distilled=True, img_size=(24, 40), num_classes=0),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "dinov2": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "layer_scale": 1.0},
        lambda: published.timm_vit(img_size=(24, 40), num_classes=0, init_values=1e-5),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "vit, timm, registers without places, layer scale, of the mean": Case(
        "vit",
        {
            **VIT,
            "image_size": [24, 40],
            "num_classes": 5,
            "registers": 2,
            "class_position": False,
            "layer_scale": 1.0,
            "pooling": "average",
        },
        lambda: published.timm_vit(
            img_size=(24, 40),
            num_classes=5,
            reg_tokens=2,
            no_embed_class=True,
            init_values=1e-5,
            global_pool="avg",
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "clip, timm": Case(
        "vit",
        {
            **VIT,
            "image_size": [24, 40],
            "num_classes": 5,
            "pre_norm": True,
            "activation": "quick_gelu",
            "epsilon": 1e-5,
        },
        lambda: published.timm_vit(
            img_size=(24, 40),
            num_classes=5,
            pre_norm=True,
            act_layer="quick_gelu",
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "siglip, timm": Case(
        "vit",
        {
            **VIT,
            "image_size": [24, 40],
            "num_classes": 5,
            "class_token": False,
            "pooling": "attention",
            "activation": "gelu_tanh",
        },
        lambda: published.timm_vit(
            img_size=(24, 40), num_classes=5, class_token=False, global_pool="map", act_layer="gelu_tanh"
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "siglip of the mean, timm": Case(
        "vit",
        {
            **VIT,
            "image_size": [24, 40],
            "num_classes": 0,
            "class_token": False,
            "pooling": "average",
            "fc_norm": False,
        },
        lambda: published.timm_vit(
            img_size=(24, 40), num_classes=0, class_token=False, global_pool="avg", fc_norm=False
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    "radio, timm": Case(
        "vit",
        {
            **VIT,
            "image_size": [24, 40],
            "num_classes": 0,
            "registers": 3,
            "class_position": False,
            "final_norm": False,
        },
        lambda: published.timm_vit(
            img_size=(24, 40), num_classes=0, reg_tokens=3, no_embed_class=True, final_norm=False
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
        slow=True,
    ),
    # torchvision's takes squares only; no two of the positions have the same embedding.
    "vit, torchvision": Case(
        "vit",
        {**VIT, "image_size": 32, "num_classes": 5},
        lambda: published.torchvision_vit(image_size=32, num_classes=5),
        [images(3, 32, 32, 3)],
        layout="torchvision",
    ),
    "vit, torchvision, representation": Case(
        "vit",
        {**VIT, "image_size": 32, "num_classes": 5, "representation": 7},
        lambda: published.torchvision_vit(image_size=32, num_classes=5, representation_size=7),
        [images(3, 32, 32, 3)],
        layout="torchvision",
        slow=True,
    ),
    "vit, of the Hub": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "epsilon": 1e-12, "activation": "gelu_tanh"},
        lambda: published.transformers_vit(
            "ViTForImageClassification", image_size=(24, 40), num_labels=5, hidden_act="gelu_new"
        ),
        [images(3, 24, 40, 3)],
        layout="transformers5",
        slow=True,
    ),
    "vit, of the Hub, features": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "epsilon": 1e-12, "representation": 24},
        lambda: published.transformers_vit("ViTModel", image_size=(24, 40)),
        [images(3, 24, 40, 3)],
        layout="transformers5_model",
        slow=True,
    ),
    "deit, of the Hub": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "epsilon": 1e-12, "distilled": True},
        lambda: published.transformers_vit(
            "DeiTForImageClassificationWithTeacher", image_size=(24, 40), num_labels=5
        ),
        [images(3, 24, 40, 3)],
        layout="transformers5_deit",
        slow=True,
    ),
    "vit, of the Hub, masked images": Case(
        "vit",
        {
            **VIT,
            "image_size": 32,
            "epsilon": 1e-12,
            "head": "masked_images",
            "maskable": True,
            "encoder_stride": 4,
        },
        lambda: published.transformers_vit("ViTForMaskedImageModeling", image_size=32, encoder_stride=4),
        [images(2, 32, 32, 3)],
        layout="transformers5",
        slow=True,
    ),
    "dinov2, of the Hub, gates": Case(
        "vit",
        {
            **VIT,
            "image_size": 32,
            "num_classes": 5,
            "feed_forward": None,
            "swiglu": True,
            "layer_scale": 1.0,
            "maskable": True,
            "pooling": "concat",
        },
        lambda: published.transformers_vit(
            "Dinov2ForImageClassification", image_size=32, num_labels=5, use_swiglu_ffn=True
        ),
        [images(2, 32, 32, 3)],
        layout="transformers5_dinov2_classifier",
        slow=True,
    ),
    "dinov2, of the Hub, registers, maps": Case(
        "vit",
        {
            **VIT,
            "image_size": 32,
            "feed_forward": 96,
            "layer_scale": 1.0,
            "maskable": True,
            "registers": 3,
            "head": "maps",
            "out_features": ["stem", "stage1"],
        },
        lambda: published.transformers_vit(
            "Dinov2WithRegistersBackbone",
            image_size=32,
            num_register_tokens=3,
            out_indices=[0, 1],
        ),
        [images(2, 32, 32, 3)],
        layout="transformers5_dinov2",
    ),
    "dinov2, of the Hub": Case(
        "vit",
        {
            **VIT,
            "image_size": 32,
            "num_classes": 0,
            "feed_forward": 96,
            "layer_scale": 1.0,
            "maskable": True,
        },
        # It reads position embeddings of an oblong as those of a square.
        lambda: published.transformers_vit("Dinov2Model", image_size=32),
        [images(3, 32, 32, 3)],
        layout="transformers5_dinov2",
        slow=True,
    ),
}
DROPOUT_CASES = {
    "vit": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "dropout": 0.2, "stochastic_depth": 0.5},
        lambda: published.timm_vit(
            img_size=(24, 40), num_classes=5, pos_drop_rate=0.2, proj_drop_rate=0.2, drop_path_rate=0.5
        ),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
}
