"""Cases of clip: texts and images."""

import numpy as np

from tests.cases.case import Case, ids, images, kept
from tests.reference import pair_models

IMAGE = {
    "image_size": 32,
    "patch_size": 8,
    "image_width": 24,
    "image_depth": 2,
    "image_heads": 3,
    "image_feed_forward": 40,
}
TEXT = {
    "vocab_size": 48,
    "max_length": 9,
    "text_width": 16,
    "text_depth": 2,
    "text_heads": 2,
    "text_feed_forward": 36,
}
END = 7  # none of the random ids
SIGLIP = {
    "variant": "siglip",
    "image_activation": "gelu_tanh",
    "image_epsilon": 1e-6,
    "text_activation": "gelu_tanh",
    "text_epsilon": 1e-6,
}
RATES = {"image_attention_dropout": 0.5, "text_attention_dropout": 0.5}


def texts(*lengths: int, length: int = 9) -> np.ndarray:
    """Texts that end with END, and go on with any token."""
    found = ids(len(lengths), length, 40) + 8
    found[np.arange(len(lengths)), np.array(lengths) - 1] = END
    return found


PICTURES = images(3, 24, 40, 3)  # for which the position embeddings are resized
CASES = {
    "clip": Case(
        "clip",
        {**IMAGE, **TEXT, "eos_token_id": END, "projection": 12},
        lambda: pair_models.clip(eos_token_id=END),
        [texts(9, 4, 7), PICTURES, kept(9, 4, 7, length=9)],
        layout="transformers",
        pairwise=2,
    ),
    "siglip": Case(
        "clip",
        {**IMAGE, **TEXT, **SIGLIP, "projection": 24},
        pair_models.siglip,
        [texts(9, 4, 7), PICTURES],
        layout="transformers",
        pairwise=2,
        slow=True,
    ),
}
HEAD_CASES = {
    "clip, texts alone, legacy end": Case(
        "clip",
        {
            **TEXT,
            **RATES,
            "head": "text",
            "eos_token_id": 2,
            "text_activation": "gelu",
            "projection": 12,
        },
        lambda: pair_models.encoder(
            "CLIPTextModelWithProjection",
            rate=0.5,
            eos_token_id=2,
            hidden_act="gelu",
            projection_dim=12,
        ),
        [texts(9, 4, 7)],
        layout="transformers",
    ),
    "clip, images alone": Case(
        "clip",
        {**IMAGE, **RATES, "head": "image", "projection": 0},
        lambda: pair_models.encoder("CLIPVisionModel", rate=0.5),
        [PICTURES],
        layout="transformers_encoder",
    ),
    "siglip, images alone": Case(
        "clip",
        {**IMAGE, **SIGLIP, **RATES, "head": "image"},
        lambda: pair_models.encoder("SiglipVisionModel", rate=0.5),
        [PICTURES],
        layout="transformers_encoder",
    ),
    "siglip, texts alone": Case(
        "clip",
        {**TEXT, **SIGLIP, **RATES, "head": "text", "projection": 24},
        lambda: pair_models.encoder("SiglipTextModel", rate=0.5, projection_size=24),
        [texts(9, 4, 7)],
        layout="transformers_encoder",
    ),
}
