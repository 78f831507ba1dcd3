"""Vision transformers beyond tests/cases/: other image sizes, the names in files, masked patches."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from PIL import Image

import converters
import zoo
from tests.cases import VIT, images
from tests.equivalence import FORWARD, difference, randomise, run_torch, state_dict
from tests.reference import published
from tests.reference.rotary_models import float64_only
from zoo import vit
from zoo._nn.layers import bicubic
from zoo.cli.app import app

pytestmark = pytest.mark.costly


def convert(tensors: Any, layout: str, **config: Any) -> tuple[vit.ViT, Any]:
    module = vit.create(**{**VIT, "image_size": 32, "num_classes": 5, **config})
    shape = jax.ShapeDtypeStruct((1, *module.image_size, module.in_channels), np.float64)
    with jax.enable_x64(True):
        return module, converters.convert(tensors, module, shape, names=vit.TORCH_NAMES[layout])


def first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1)


def apply(module: vit.ViT, variables: Any, pictures: np.ndarray, **kwargs: Any) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jax.jit(partial(module.apply, **kwargs))(variables, pictures))


DINOV2: dict[str, Any] = {"layer_scale": 1.0, "maskable": True, "num_classes": 0, "feed_forward": 96}
RESIZED = {
    "timm, vit": ("timm", {}, lambda: published.timm_vit(img_size=32, num_classes=5, dynamic_img_size=True)),
    "timm, deit": (
        "timm",
        {"distilled": True},
        lambda: published.timm_vit(distilled=True, img_size=32, num_classes=5, dynamic_img_size=True),
    ),
    "transformers, vit": (
        "transformers5",
        {"epsilon": 1e-12},
        lambda: published.transformers_vit(
            "ViTForImageClassification", interpolate=True, image_size=32, num_labels=5
        ),
    ),
    "transformers, deit": (
        "transformers5_deit",
        {"epsilon": 1e-12, "distilled": True},
        lambda: published.transformers_vit(
            "DeiTForImageClassificationWithTeacher", interpolate=True, image_size=32, num_labels=5
        ),
    ),
    "transformers, dinov2": (
        "transformers5_dinov2",
        DINOV2,
        lambda: published.transformers_vit("Dinov2Model", image_size=32),
    ),
    "transformers, registers": (
        "transformers5_dinov2",
        {**DINOV2, "registers": 4, "resizing": "timm"},
        lambda: published.transformers_vit("Dinov2WithRegistersModel", image_size=32),
    ),
}


@pytest.mark.parametrize("size", [(24, 40), (8, 104)], ids=str)
@pytest.mark.parametrize(("layout", "config", "make"), RESIZED.values(), ids=RESIZED)
def test_images_of_another_size_match_the_library(
    layout: str, config: Any, make: Any, size: tuple[int, int]
) -> None:
    twin, pictures = randomise(make()).eval(), images(2, *size, 3)
    resizing = "timm" if layout == "timm" else "transformers"
    module, variables = convert(state_dict(twin), layout, **{"resizing": resizing, **config})
    with float64_only():
        (expected,) = run_torch(twin, [first(pictures)]).outputs
    found = apply(module, variables, pictures)
    assert difference(found, expected) <= FORWARD


@pytest.mark.parametrize("side", [8, 56])
def test_images_of_another_size_match_torchvision(side: int) -> None:
    """It resizes the state dict, and takes squares only."""
    small = randomise(published.torchvision_vit(image_size=32, num_classes=5))
    module, variables = convert(state_dict(small), "torchvision", resizing="torchvision")
    from torchvision.models.vision_transformer import interpolate_embeddings

    twin = published.torchvision_vit(image_size=side, num_classes=5).double().eval()
    twin.load_state_dict(interpolate_embeddings(side, 8, small.state_dict()))
    pictures = images(2, side, side, 3)
    found = apply(module, variables, pictures)
    assert difference(found, run_torch(twin, [first(pictures)]).outputs[0]) <= FORWARD


def test_resizing_to_the_same_size_changes_nothing() -> None:
    for resize in vit.RESIZING.values():
        np.testing.assert_allclose(resize(7, 7), np.eye(7), atol=1e-15)
    np.testing.assert_allclose(bicubic(5, 1, align_corners=True), np.eye(5)[:1])


FILES = {
    "ViTForImageClassification": ("transformers", {"num_labels": 5}, {"epsilon": 1e-12}),
    "ViTModel": ("transformers_model", {}, {"epsilon": 1e-12, "num_classes": 0, "representation": 24}),
    "DeiTForImageClassificationWithTeacher": (
        "transformers_deit",
        {"num_labels": 5},
        {"epsilon": 1e-12, "distilled": True},
    ),
    "ViTForMaskedImageModeling": (
        "transformers",
        {},
        {"epsilon": 1e-12, "head": "masked_images", "maskable": True},
    ),
    "DeiTForImageClassification": (
        "transformers_deit_classifier",
        {"num_labels": 5},
        {"epsilon": 1e-12, "distilled": True, "pooling": "token"},
    ),
    "DeiTModel": (
        "transformers_model",
        {},
        {"epsilon": 1e-12, "distilled": True, "pooling": "token", "num_classes": 0, "representation": 24},
    ),
    "DeiTForMaskedImageModeling": (
        "transformers_deit_classifier",
        {"encoder_stride": 8},
        {
            "epsilon": 1e-12,
            "distilled": True,
            "head": "masked_images",
            "encoder_stride": 8,
            "maskable": True,
        },
    ),
    "Dinov2Model": ("transformers_dinov2", {}, DINOV2),
    "Dinov2ForImageClassification": (
        "transformers_dinov2_classifier",
        {"num_labels": 5, "use_swiglu_ffn": True},
        {**DINOV2, "num_classes": 5, "pooling": "concat", "swiglu": True, "feed_forward": 64},
    ),
    "Dinov2Backbone": (
        "transformers_dinov2",
        {"out_features": ["stem", "stage2"], "use_mask_token": False},
        {**DINOV2, "head": "maps", "out_indices": (0, 2), "maskable": False},
    ),
    "Dinov2WithRegistersModel": ("transformers_dinov2", {}, {**DINOV2, "registers": 4, "resizing": "timm"}),
    "Dinov2WithRegistersForImageClassification": (
        "transformers_dinov2_with_registers",
        {"num_labels": 5, "num_register_tokens": 2},
        {**DINOV2, "registers": 2, "resizing": "timm", "pooling": "concat", "num_classes": 5},
    ),
    "Dinov2WithRegistersBackbone": (
        "transformers_dinov2",
        {},
        {**DINOV2, "registers": 4, "resizing": "timm", "head": "maps"},
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_transformers_writes_is_read(name: str, tmp_path: Path) -> None:
    """Tensors have older names in its files than in its state dicts; config.json says the rest."""
    layout, options, config = FILES[name]
    twin = randomise(published.transformers_vit(name, image_size=32, **options)).eval()
    published.write_vit(twin, tmp_path)
    tensors = converters.read_checkpoint(tmp_path / "model.safetensors")
    assert not set(tensors) <= set(twin.state_dict())
    module, variables = convert(tensors, layout, **{"resizing": "transformers", "mlp_dropout": 0.0, **config})
    with jax.enable_x64(True):
        model = zoo.load(tmp_path, pretrained=True)
        jax.tree.map(np.testing.assert_array_equal, model.variables, variables)
    assert model.module == module
    assert model.entry is not None
    assert model.entry.inputs[0].shape == (1, 32, 32, 3)
    pictures = images(2, 32, 32, 3)
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, jax.tree.leaves(jax.jit(module.apply)(variables, pictures)))
    expected = run_torch(twin, [first(pictures)]).outputs
    for ours, theirs in zip(found, expected, strict=True):
        assert difference(first(ours) if ours.ndim == 4 else ours, theirs) <= FORWARD


def test_a_file_without_a_pooler_gives_features(tmp_path: Path) -> None:
    """As DINO's, whose config.json names a class that has one."""
    twin = randomise(published.transformers_vit("ViTModel", image_size=32)).eval()
    published.write_vit(twin, tmp_path)
    tensors = dict(converters.read_checkpoint(tmp_path / "model.safetensors"))
    kept = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    converters.write_checkpoint(kept, tmp_path / "model.safetensors", overwrite=True)
    pictures = images(2, 32, 32, 3)
    states = run_torch(twin, [first(pictures)], call=lambda vit, x: vit.full(x).last_hidden_state).outputs[0]
    with jax.enable_x64(True):
        for model in (zoo.load(tmp_path, pretrained=True), zoo.load(tmp_path, pretrained=True, head="none")):
            found = apply(model.module, model.variables, pictures)
            assert difference(found, states[:, 0]) <= FORWARD


def test_a_classifier_without_its_head_gives_features(tmp_path: Path) -> None:
    twin = randomise(published.transformers_vit("ViTForImageClassification", image_size=32)).eval()
    published.write_vit(twin, tmp_path)
    with jax.enable_x64(True):
        model = zoo.load(tmp_path, pretrained=True, num_classes=0)
    pictures = images(2, 32, 32, 3)
    states = run_torch(twin.vit, [first(pictures)], call=lambda vit, x: vit(x).last_hidden_state).outputs[0]
    assert difference(apply(model.module, model.variables, pictures), states[:, 0]) <= FORWARD
    with pytest.raises(zoo.ZooError, match="does not classify pictures"):
        zoo.predict(model, pictures)


def test_the_files_of_torchvision_are_read() -> None:
    """They were saved when the dense layers had other names, which torchvision still reads."""
    twin = randomise(published.torchvision_vit(image_size=32, num_classes=5))
    old = {
        name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): tensor
        for name, tensor in twin.state_dict().items()
    }
    published.torchvision_vit(image_size=32, num_classes=5).load_state_dict(dict(old), strict=True)
    _, ours = convert({name: tensor.numpy() for name, tensor in old.items()}, "torchvision_files")
    _, same = convert(state_dict(twin), "torchvision")
    jax.tree.map(np.testing.assert_array_equal, ours, same)


@pytest.mark.parametrize("masked", [False, True])
def test_tokens_are_the_last_hidden_state(masked: bool) -> None:
    twin = randomise(published.transformers_vit("Dinov2Model", image_size=32)).eval()
    module, variables = convert(state_dict(twin), "transformers5_dinov2", **DINOV2)
    pictures = images(2, 32, 32, 3)
    mask = np.random.default_rng(3).random((2, 16)) < 0.5 if masked else None
    parent = type(twin).__mro__[1]

    def call(twin: Any, x: Any) -> Any:
        positions = None if mask is None else torch.from_numpy(mask)
        return parent.forward(twin, x, bool_masked_pos=positions).last_hidden_state

    (expected,) = run_torch(twin, [first(pictures)], call=call).outputs
    found = apply(module, variables, pictures, masked=mask, method="tokens")
    assert difference(found, expected) <= FORWARD


@pytest.mark.parametrize("shape", [(2, 33, 32, 3), (2, 32, 20, 3), (2, 32, 32, 1), (32, 32, 3)], ids=str)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    module = vit.create(**VIT, image_size=32)
    with pytest.raises(
        zoo.ZooError, match=r"expected \(batch, 32, 32, 3\), or sides that patches of 8 x 8 divide"
    ):
        jax.eval_shape(module.init, jax.random.key(0), np.zeros(shape))


WRONG: dict[str, dict[str, Any]] = {
    "image_size": {"image_size": 30},
    "width": {"width": 25},
    "representation": {"distilled": True, "representation": 3},
    "fc_norm=True": {"distilled": True, "fc_norm": True},
    "fc_norm=None": {"head": "masked_images", "maskable": True, "pooling": "average"},
    "head": {"head": "lm"},
    "pooling": {"pooling": "both"},
    "out_indices": {"head": "maps", "out_indices": [3]},
    "out_features": {"head": "maps", "out_features": ["stage3"]},
    "differ": {"head": "maps", "out_features": ["stem"], "out_indices": [1]},
    "resizing": {"resizing": "nearest"},
    "activation": {"activation": "swish"},
    "scan": {"scan": True, "stochastic_depth": 0.1},
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible_settings_are_refused(name: str) -> None:
    with pytest.raises(zoo.ZooError, match=name):
        vit.create(**{**VIT, "image_size": 32, **WRONG[name]})


def test_the_entry_says_which_images_a_changed_model_takes() -> None:
    model = zoo.load("vit_tiny_patch16_224", image_size=[32, 48], in_channels=1, depth=0, num_classes=4)
    assert model.entry is not None
    (taken,) = model.entry.inputs
    assert dataclasses.replace(taken, name="") == zoo._registry.entry.Input("", (1, 32, 48, 1), "float32")
    assert model(np.zeros((2, 32, 48, 1))).shape == (2, 4)


def test_bfloat16_stays_bfloat16() -> None:
    module = vit.create(**VIT, image_size=32, layer_scale=0.1, distilled=True, dtype=jax.numpy.bfloat16)
    output, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), np.zeros((1, 48, 32, 3)))
    assert output.dtype == jax.numpy.bfloat16


def test_predict_classifies_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are resized and cropped as the entry says; the model takes them though it was made for others."""
    model = zoo.load("deit_tiny_patch16_224", image_size=32, depth=1, width=24, num_classes=4)
    zoo.save(model, tmp_path / "vit")
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)).save(picture)
    with pytest.raises(SystemExit) as caught:
        app(["predict", str(tmp_path / "vit"), str(picture)], prog_name="zoo")
    assert caught.value.code == 0
    table = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert sorted(row[1] for row in table) == list("0123")
    assert abs(sum(float(row[2]) for row in table) - 1) < 1e-6
