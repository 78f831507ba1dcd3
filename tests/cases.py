"""One line for each model to be proven equal to a PyTorch implementation; a new model is a new line here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.reference import published, text_models, twins
from zoo import resnet


@dataclass(frozen=True, eq=False)  # hashed by identity: what tests make of a case is made once
class Case:
    """A family's configuration and the PyTorch model that it must equal.

    Attributes:
        family: the file in zoo/.
        config: keywords of its `create`.
        twin: makes the PyTorch model.
        inputs: of the Flax model; images are (batch, height, width, channels), height not width.
        more: what else the twin takes, from the Flax module, its variables and the dtype.
        layout: whose names the twin has: a key of the family's TORCH_NAMES, where it has any.
        slow: for `make test-all` only.
    """

    family: str
    config: Mapping[str, Any]
    twin: Callable[[], torch.nn.Module]
    inputs: Sequence[np.ndarray]
    more: Callable[[Any, Any, Any], Sequence[np.ndarray]] = lambda module, variables, dtype: ()
    layout: str = ""
    rngs: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


def images(batch: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(7).random((batch, height, width, channels))


def labels(batch: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(8).integers(classes, size=batch)


NOISE = {"noise": jax.random.key(3)}


def noise(module: Any, variables: Any, dtype: Any) -> Sequence[np.ndarray]:
    """What the VAE draws from its stream: a latent of mean 0 and variance 1."""
    zeros = np.zeros((3, module.latent_dim), dtype)
    return (np.asarray(module.apply(variables, zeros, zeros, method="reparameterize", rngs=NOISE)),)


def ids(batch: int, length: int, vocab: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(vocab, size=(batch, length))


def kept(*lengths: int, length: int) -> np.ndarray:
    """Masks of sequences of these lengths, padded on the right."""
    return (np.arange(length) < np.array(lengths)[:, None]).astype(int)


TEXTS = [ids(3, 7, 11), ids(3, 5, 13), kept(7, 3, 4, length=7), kept(2, 5, 4, length=5)]
TRANSFORMER = {
    "source_vocab_size": 11,
    "target_vocab_size": 13,
    "width": 12,
    "heads": 3,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "feed_forward": 20,
    "dropout": 0.0,
}


def transformer(**options: Any) -> torch.nn.Module:
    return twins.Transformer(
        d_model=12,
        nhead=3,
        num_encoder_layers=2,
        num_decoder_layers=3,
        dim_feedforward=20,
        **{"dropout": 0.0, **options},
    )


VIT = {"patch_size": 8, "width": 24, "depth": 2, "heads": 3, "feed_forward": 48}

GPT2 = {"vocab_size": 50, "max_length": 40, "width": 24, "depth": 2, "heads": 3}
BERT = {"vocab_size": 50, "max_length": 40, "width": 24, "depth": 2, "heads": 3, "feed_forward": 40}
NOTHING = {"dropout": 0.0, "attention_dropout": 0.0}
ROBERTA = {"variant": "roberta", "token_types": 1, "epsilon": 1e-5, "pad_token_id": 1}
DISTILBERT = {"variant": "distilbert", "token_types": 0}
# Without the padding tokens 0 and 1, whose embeddings get no gradient in PyTorch; lengths are odd.
TOKENS = [ids(3, 17, 48) + 2, kept(17, 9, 3, length=17)]
PAIRS = [*TOKENS, ids(3, 17, 2, seed=5), np.arange(17)[::-1] + ids(3, 1, 20)]


CASES = {
    "mlp": Case("mlp", {}, lambda: twins.MLP(12 * 8 * 2), [images(3, 12, 8, 2)]),
    "mlp, deeper": Case(
        "mlp", {"hidden": [9, 8, 7]}, lambda: twins.MLP(96, (9, 8, 7, 10)), [images(3, 12, 8, 1)]
    ),
    "cnn": Case("cnn", {}, lambda: twins.CNN(12, 8), [images(3, 12, 8, 1)]),
    "cnn, colour": Case("cnn", {"num_classes": 7}, lambda: twins.CNN(8, 16, 3, 7), [images(3, 8, 16, 3)]),
    "vae": Case(
        "vae",
        {"output_activation": "sigmoid"},
        twins.VAE,
        [images(3, 28, 28, 1), labels(3)],
        noise,
        rngs=NOISE,
    ),
    "vae, colour, as in the article": Case(
        "vae",
        {"input_shape": [6, 5, 3], "latent_dim": 4},
        lambda: twins.VAE(3, 6, 5, 4, torch.relu),
        [images(3, 6, 5, 3), labels(3)],
        noise,
        rngs=NOISE,
    ),
    "resnet18": Case(
        "resnet",
        {"depth": 18},
        lambda: published.torchvision_resnet("resnet18"),
        [images(2, 48, 72, 3)],
        layout="torchvision",
    ),
    "resnet14, groups": Case(
        "resnet",
        {"depth": 14, "groups": 4, "width_per_group": 8, "num_classes": 5},
        lambda: published.torchvision_resnet(layers=[1, 1, 1, 1], num_classes=5, groups=4, width_per_group=8),
        [images(2, 40, 72, 3)],
        layout="torchvision",
    ),
    "resnet18, small images": Case(
        "resnet",
        {"depth": 18, "stem": "cifar", "num_classes": 1000},
        lambda: published.small_images(published.torchvision_resnet("resnet18")),
        [images(2, 18, 14, 3)],
        layout="torchvision",
        slow=True,
    ),
    "resnet10d, grey": Case(
        "resnet",
        {"depth": 10, "stem": "deep", "shortcut": "pool", "in_channels": 1, "num_classes": 0},
        lambda: published.timm_model("resnet18d", layers=(1, 1, 1, 1), in_chans=1, num_classes=0),
        [images(2, 42, 70, 1)],
        layout="timm",
    ),
    "resnet14t": Case(
        "resnet",
        {"depth": 14, "stem": "deep_tiered", "shortcut": "pool"},
        lambda: published.timm_model("resnet14t"),
        [images(2, 42, 70, 3)],
        layout="timm",
    ),
    "resnet10, of the Hub": Case(
        "resnet",
        {"depth": 10, "channels": 8, "num_classes": 7},
        lambda: published.transformers_resnet("basic", (1, 1, 1, 1), channels=8, classes=7),
        [images(2, 40, 72, 3)],
        layout="transformers",
    ),
    "resnet14, of the Hub, features": Case(
        "resnet",
        {"depth": 14, "channels": 8, "num_classes": 0},
        lambda: published.transformers_resnet("bottleneck", (1, 1, 1, 1), channels=8),
        [images(2, 40, 72, 3)],
        layout="transformers_model",
    ),
    "resnet, of the Hub, uneven": Case(
        "resnet",
        {
            "block": "bottleneck",
            "blocks": [1, 2],
            "channels": 6,
            "widths": [8, 20],
            "stride_first_stage": True,
            "stride_first_conv": True,
            "num_classes": 3,
        },
        lambda: published.transformers_resnet(
            "bottleneck",
            (1, 2),
            channels=6,
            classes=3,
            hidden_sizes=[8, 20],
            downsample_in_first_stage=True,
            downsample_in_bottleneck=True,
        ),
        [images(2, 40, 72, 3)],
        layout="transformers",
    ),
    "resnet, of the Hub, maps": Case(
        "resnet",
        {"block": "basic", "blocks": [1, 1], "channels": 6, "head": "maps", "out_indices": [-1, 0]},
        lambda: published.transformers_resnet(
            "basic", (1, 1), channels=6, name="ResNetBackbone", hidden_sizes=[6, 12], out_indices=[0, 2]
        ),
        [images(2, 40, 72, 3)],
        layout="transformers_model",
    ),
    "resnet20, of CIFAR": Case(
        "resnet",
        {"depth": 20, "channels": 16, "num_classes": 10, "stem": "cifar", "shortcut": "pad"},
        lambda: twins.CifarResNet(20),
        [images(2, 18, 14, 3)],
        layout="cifar",
    ),
    "transformer": Case("transformer", TRANSFORMER, transformer, TEXTS, layout="torch"),
    "transformer, norms first": Case(
        "transformer",
        {**TRANSFORMER, "norm_first": True, "activation": "gelu"},
        lambda: transformer(norm_first=True, activation="gelu"),
        TEXTS,
        layout="torch",
    ),
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
    ),
    "deit": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "distilled": True},
        lambda: published.timm_vit(distilled=True, img_size=(24, 40), num_classes=5),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "deit, features": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "distilled": True},
        lambda: published.timm_vit(distilled=True, img_size=(24, 40), num_classes=0),
        [images(3, 24, 40, 3)],
        layout="timm",
    ),
    "dinov2": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "layer_scale": 1.0},
        lambda: published.timm_vit(img_size=(24, 40), num_classes=0, init_values=1e-5),
        [images(3, 24, 40, 3)],
        layout="timm",
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
    ),
    "vit, of the Hub": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "epsilon": 1e-12, "activation": "gelu_tanh"},
        lambda: published.transformers_vit(
            "ViTForImageClassification", image_size=(24, 40), num_labels=5, hidden_act="gelu_new"
        ),
        [images(3, 24, 40, 3)],
        layout="transformers5",
    ),
    "vit, of the Hub, features": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 0, "epsilon": 1e-12, "representation": 24},
        lambda: published.transformers_vit("ViTModel", image_size=(24, 40)),
        [images(3, 24, 40, 3)],
        layout="transformers5_model",
    ),
    "deit, of the Hub": Case(
        "vit",
        {**VIT, "image_size": [24, 40], "num_classes": 5, "epsilon": 1e-12, "distilled": True},
        lambda: published.transformers_vit(
            "DeiTForImageClassificationWithTeacher", image_size=(24, 40), num_labels=5
        ),
        [images(3, 24, 40, 3)],
        layout="transformers5_deit",
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
    ),
    "gpt2": Case(
        "gpt2",
        {**GPT2, **NOTHING, "embedding_dropout": 0.0},
        text_models.gpt2,
        TOKENS,
        layout="transformers",
    ),
    "gpt2, states": Case(
        "gpt2",
        {
            **GPT2,
            **NOTHING,
            "embedding_dropout": 0.0,
            "feed_forward": 40,
            "activation": "relu",
            "epsilon": 1e-3,
            "head": "none",
        },
        lambda: text_models.gpt2(
            "GPT2Model", n_inner=40, activation_function="relu", layer_norm_epsilon=1e-3
        ),
        PAIRS,
        layout="transformers_model",
    ),
    "bert": Case("bert", {**BERT, **NOTHING}, text_models.bert, PAIRS, layout="transformers_model"),
    "bert, masked": Case(
        "bert",
        {**BERT, **NOTHING, "head": "masked_lm", "activation": "relu"},
        lambda: text_models.bert("BertForMaskedLM", hidden_act="relu"),
        TOKENS,
        layout="transformers",
    ),
    "bert, classifier": Case(
        "bert",
        {**BERT, **NOTHING, "head": "classification", "num_classes": 3},
        lambda: text_models.bert("BertForSequenceClassification", num_labels=3),
        TOKENS,
        layout="transformers",
    ),
    "roberta": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA},
        lambda: text_models.bert("RobertaModel", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta_model",
    ),
    "roberta, masked": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA, "head": "masked_lm"},
        lambda: text_models.bert("RobertaForMaskedLM", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta",
    ),
    "roberta, classifier": Case(
        "bert",
        {**BERT, **NOTHING, **ROBERTA, "head": "classification"},
        lambda: text_models.bert("RobertaForSequenceClassification", type_vocab_size=1, layer_norm_eps=1e-5),
        TOKENS,
        layout="roberta",
    ),
    "distilbert": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "none"},
        text_models.distilbert,
        TOKENS,
        layout="distilbert_model",
    ),
    "distilbert, masked": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "masked_lm"},
        lambda: text_models.distilbert("DistilBertForMaskedLM"),
        TOKENS,
        layout="distilbert",
    ),
    "distilbert, classifier": Case(
        "bert",
        {**BERT, **NOTHING, **DISTILBERT, "head": "classification"},
        lambda: text_models.distilbert("DistilBertForSequenceClassification"),
        TOKENS,
        layout="distilbert",
    ),
}

DROPOUT_CASES = {
    "gpt2": Case(
        "gpt2",
        {**GPT2, "embedding_dropout": 0.2, "dropout": 0.2, "attention_dropout": 0.2},
        lambda: text_models.gpt2(rate=0.2),
        TOKENS,
        layout="transformers",
    ),
    **{
        f"{kind}, {head}": Case(
            "bert",
            {**BERT, **own, "head": head, "dropout": 0.2, "attention_dropout": 0.2},
            partial(make, name, rate=0.2, **options),
            TOKENS,
            layout=kind,
        )
        for kind, make, own, options, names in (
            ("transformers", text_models.bert, {}, {}, ("BertForMaskedLM", "BertForSequenceClassification")),
            (
                "roberta",
                text_models.bert,
                ROBERTA,
                {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
                ("RobertaForMaskedLM", "RobertaForSequenceClassification"),
            ),
            (
                "distilbert",
                text_models.distilbert,
                DISTILBERT,
                {},
                ("DistilBertForMaskedLM", "DistilBertForSequenceClassification"),
            ),
        )
        for head, name in zip(("masked_lm", "classification"), names, strict=True)
    },
    "transformer": Case(
        "transformer",
        {**TRANSFORMER, "dropout": 0.3},
        lambda: transformer(dropout=0.3),
        TEXTS,
        layout="torch",
    ),
}

CHOICES = [ids(6, 9, 48).reshape(3, 2, 9) + 2, kept(9, 4, 7, 9, 3, 9, length=9).reshape(3, 2, 9)]
# GPT-2 finds the last token by the padding token, which is 0.
PADDED = [TOKENS[0] * TOKENS[1], TOKENS[1]]


LIKE_ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
RATES = {"embedding_dropout": 0.2, "classifier_dropout": 0.2, "summary_dropout": 0.2}
HEADS_OF = {  # beginning of a class's name -> the twin, its options, and the keywords of `create`
    "Bert": (text_models.bert, {}, BERT),
    "Roberta": (text_models.bert, LIKE_ROBERTA, {**BERT, **ROBERTA}),
    "DistilBert": (text_models.distilbert, {}, {**BERT, **DISTILBERT, "answer_dropout": 0.2}),
    "GPT2": (text_models.gpt2, {"use_cache": False}, {**GPT2, **RATES}),
}


def head(
    name: str, layout: str, inputs: Sequence[np.ndarray], config: Mapping[str, Any], **options: Any
) -> tuple[str, Case]:
    """A class of transformers; everything is dropped out at a rate, which eval mode does not show."""
    make, more, keywords = HEADS_OF[name.partition("For")[0].partition("LMHead")[0].partition("Double")[0]]
    return name, Case(
        "gpt2" if make is text_models.gpt2 else "bert",
        {**keywords, "dropout": 0.2, "attention_dropout": 0.2, **config},
        partial(make, name, rate=0.2, **more, **options),
        inputs,
        layout=layout,
    )


THREE = {"head": "token_classification", "num_classes": 3}
ANSWERS, CHOICE = {"head": "question_answering"}, {"head": "multiple_choice"}
OF_TEXTS = {"head": "classification", "num_classes": 3, "pad_token_id": 0}
HEAD_CASES = dict(
    [
        head("BertForTokenClassification", "transformers", PAIRS, THREE, num_labels=3),
        head("BertForQuestionAnswering", "transformers", PAIRS, ANSWERS),
        head("BertForMultipleChoice", "transformers", CHOICES, CHOICE),
        head("BertForNextSentencePrediction", "transformers", PAIRS, {"head": "next_sentence"}),
        head("BertForPreTraining", "transformers", PAIRS, {"head": "pretraining"}),
        head(
            "BertLMHeadModel",
            "transformers",
            TOKENS,
            {"head": "causal_lm", "causal": True},
            is_decoder=True,
            use_cache=False,
        ),
        head("RobertaForTokenClassification", "roberta_tokens", TOKENS, THREE, num_labels=3),
        head("RobertaForQuestionAnswering", "roberta", TOKENS, ANSWERS),
        head("RobertaForMultipleChoice", "roberta_tokens", CHOICES, CHOICE),
        head("DistilBertForTokenClassification", "distilbert", TOKENS, THREE, num_labels=3),
        head("DistilBertForQuestionAnswering", "distilbert", TOKENS, ANSWERS),
        head("DistilBertForMultipleChoice", "distilbert", CHOICES, CHOICE),
        head("GPT2ForSequenceClassification", "transformers", PADDED, OF_TEXTS, num_labels=3, pad_token_id=0),
        head("GPT2ForTokenClassification", "transformers", PAIRS, THREE, num_labels=3),
        head("GPT2ForQuestionAnswering", "transformers", TOKENS, ANSWERS),
        head("GPT2DoubleHeadsModel", "transformers", CHOICES, {"head": "double_heads"}),
        head(
            "GPT2LMHeadModel",
            "transformers",
            TOKENS,
            {"scale_by_layer": True, "scale_attention": False},
            scale_attn_by_inverse_layer_idx=True,
            scale_attn_weights=False,
        ),
    ]
)

# The other ResNets of the manifest: their names, and what makes the model of that name.
RESNETS = {
    "torchvision": (
        "resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 wide_resnet101_2 "
        "resnext50_32x4d resnext101_32x8d resnext101_64x4d",
        published.torchvision_resnet,
    ),
    "timm": (
        "resnet18d resnet26 resnet26d resnet34d resnet50d resnet101d resnet152d",
        published.timm_model,
    ),
    "cifar": (
        "resnet32_cifar10 resnet44_cifar10 resnet56_cifar10 resnet110_cifar10 resnet1202_cifar10",
        lambda name: twins.CifarResNet(int(name.removeprefix("resnet").partition("_")[0])),
    ),
    "transformers": (
        "resnet18 resnet50",
        lambda name: published.transformers_resnet(
            *resnet.DEPTHS[zoo.info(name).config["depth"]], classes=1000
        ),
    ),
}
CASES |= {
    f"{name}, {layout}": Case(
        "resnet",
        zoo.info(name).config,
        partial(make, name),
        [images(2, 18, 14, 3) if layout == "cifar" else images(2, 64, 96, 3)],
        layout=layout,
        slow=True,
    )
    for layout, (names, make) in RESNETS.items()
    for name in names.split()
}

each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case.slow else []) for case in CASES.values()],
    ids=CASES,
)
