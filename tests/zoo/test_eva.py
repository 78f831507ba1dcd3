"""Vision transformers with rotary positions beyond tests/cases/: other sizes, files, training, refusals."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import converters
import zoo
from tests.cases import CASES, images
from tests.equivalence import FORWARD, difference, randomise, run_torch, state_dict
from tests.reference import published
from tests.reference.rotary_models import transformers_beit, transformers_dinov3
from zoo import eva

pytestmark = pytest.mark.costly

TINY: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "width": 24,
    "depth": 2,
    "heads": 3,
    "feed_forward": 48,
    "num_classes": 5,
}


def first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1)


@pytest.mark.parametrize("name", ["rope, positions", "rope, mixed"])
def test_images_of_another_size_match_timm(name: str) -> None:
    """Indices go on, learned positions are resized."""
    case = CASES[name]
    twin = randomise(case.twin()).eval()
    module = eva.create(**case.config)
    with jax.enable_x64(True):
        variables = converters.convert(
            state_dict(twin), module, *case.inputs, names=eva.TORCH_NAMES[case.layout]
        )
        pictures = images(2, 40, 32, 3)
        found = np.asarray(jax.jit(module.apply)(variables, pictures))
    twin.set_input_size((40, 32))
    assert difference(found, run_torch(twin.double(), [first(pictures)]).outputs[0]) <= FORWARD


def test_what_transformers_writes_is_read(tmp_path: Path) -> None:
    """Tensors have older names in its files than in its state dicts; config.json says the rest."""
    twin = randomise(transformers_dinov3(image_size=32, num_register_tokens=2)).eval()
    published.write_vit(twin, tmp_path)
    tensors = converters.read_checkpoint(tmp_path / "model.safetensors")
    assert not set(tensors) <= set(twin.state_dict())
    with jax.enable_x64(True):
        model = zoo.load(tmp_path, pretrained=True)
        pictures = images(2, 24, 40, 3)
        found = np.asarray(jax.jit(model.module.apply)(model.variables, pictures))
    assert model.entry is not None
    assert model.entry.inputs[0].shape == (1, 32, 32, 3)
    assert difference(found, run_torch(twin, [first(pictures)]).outputs[0]) <= FORWARD
    # A classifier of one's own keeps all but the head that the file lacks.
    with jax.enable_x64(True):
        classifier = zoo.load(tmp_path, pretrained=True, head="classification", num_classes=3)
    assert classifier.variables["params"]["head"]["kernel"].shape == (24, 3)


BEIT: dict[str, tuple[str, dict[str, Any]]] = {
    "BeitModel": ("features", {"use_relative_position_bias": True, "layer_scale_init_value": 0.0}),
    "BeitBackbone": ("maps", {"use_absolute_position_embeddings": True, "out_features": ["stage1"]}),
    "Data2VecVisionForImageClassification": (
        "logits",
        {"use_relative_position_bias": True, "num_labels": 5},
    ),
}


@pytest.mark.parametrize("name", BEIT)
def test_what_transformers_writes_of_beit_is_read(name: str, tmp_path: Path) -> None:
    """Biases are interpolated for images of another size."""
    kind, options = BEIT[name]
    twin = randomise(transformers_beit(name, **options)).eval()
    published.write_vit(twin, tmp_path)
    pictures = images(2, 40, 40, 3) if kind == "logits" else images(2, 32, 32, 3)
    with jax.enable_x64(True):
        model = zoo.load(tmp_path, pretrained=True)
        (found,) = jax.tree.leaves(jax.jit(model.module.apply)(model.variables, pictures))
        found = np.asarray(found)
    (expected,) = run_torch(twin, [first(pictures)]).outputs
    assert difference(first(found) if kind == "maps" else found, expected) <= FORWARD


def test_tokens_are_the_last_hidden_state_and_patches_are_masked() -> None:
    twin = randomise(transformers_dinov3(num_register_tokens=2)).eval()
    options = {"registers": 2, "maskable": True, "head": "none", "layer_scale": 1.0}
    module = eva.create(**TINY | options)
    pictures, masked = images(2, 24, 40, 3), np.random.default_rng(3).random((2, 15)) < 0.5

    def call(twin: Any, x: Any) -> Any:
        import torch

        from tests.reference.rotary_models import float64_only

        with float64_only():
            parent = type(twin).__mro__[1]
            return parent.forward(twin, x, bool_masked_pos=torch.from_numpy(masked)).last_hidden_state

    with jax.enable_x64(True):
        names = eva.TORCH_NAMES["transformers5"]
        variables = converters.convert(state_dict(twin), module, pictures, names=names)
        apply = jax.jit(partial(module.apply, method="tokens"))
        found = np.asarray(apply(variables, pictures, masked))
    assert difference(found, run_torch(twin, [first(pictures)], call=call).outputs[0]) <= FORWARD


def test_places_are_rescaled_in_training_alone() -> None:
    module = eva.create(**TINY, rotary_rescale=2.0)

    def angles(seed: int, *, train: bool) -> np.ndarray:
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(seed)}
        return np.asarray(module.init_with_output(rngs, (4, 4), train=train, method="_angles")[0])

    plain = angles(0, train=False)
    factors = [angles(seed, train=True) / plain for seed in range(3)]
    assert all(factor.min() >= 0.5 and factor.max() <= 2 and np.ptp(factor) < 1e-5 for factor in factors)
    assert np.ptp([factor.mean() for factor in factors]) > 0.1


def test_a_loop_over_stacked_blocks_gives_the_same() -> None:
    options = {**TINY, "layer_scale": 1.0, "rotary": "mixed"}
    plain, loop = eva.create(**options), eva.create(**options, scan=True, remat=True)
    pictures = images(2, 32, 32, 3)
    variables = jax.jit(plain.init)(jax.random.key(0), pictures)
    tensors = converters.to_torch(variables, plain, pictures)
    stacked = converters.convert(tensors, loop, pictures)
    found, expected = (
        jax.jit(module.apply)(arrays, pictures) for module, arrays in ((loop, stacked), (plain, variables))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_stays(dtype: Any) -> None:
    module = eva.create(**TINY, query_norm=True, norm="rms", rotary_rescale=2.0, dtype=dtype)
    output, _ = jax.eval_shape(
        partial(module.init_with_output, train=True),
        {"params": jax.random.key(0), "dropout": jax.random.key(1)},
        np.zeros((1, 48, 32, 3)),
    )
    assert output.dtype == dtype


WRONG: dict[str, dict[str, Any]] = {
    r"image_size=\(30, 30\); expected multiples of \(8, 8\)": {"image_size": 30},
    "width=25; expected a number that 3 heads can share": {"width": 25},
    r"width=18; expected heads \(3\) of four numbers": {"width": 18},
    "width=12; expected a multiple of 8": {"width": 12, "pooling": "attention"},
    r"key_value_heads=\(2, 2\); expected divisors of heads=3": {"key_value_heads": 2},
    r"key_value_heads=\(3,\); expected one for each of 2 blocks": {"key_value_heads": [3]},
    "no head 'lm'; choose one of classification": {"head": "lm"},
    "no pooling 'max'; choose one of": {"pooling": "max"},
    "pooling='token'; expected another one": {"pooling": "token", "class_token": False},
    "no rotary 'spiral'; choose one of None, axial": {"rotary": "spiral"},
    "no rotary_order 'zy'": {"rotary_order": "zy"},
    'rotary_grid=4; expected None without rotary="axial"': {"rotary_grid": 4},
    "rotary_offset=1.0": {"rotary_offset": 1.0},
    "registers=4; expected 0 with biases": {"relative_bias": True},
    "class_token=False; expected True with biases": {
        "relative_bias": True,
        "registers": 0,
        "class_token": False,
    },
    "no resizing 'nearest'": {"resizing": "nearest"},
    "rotary_rescale=0.5": {"rotary_rescale": 0.5},
    "no norm 'batch'": {"norm": "batch"},
    "layer_scale=1e-05; expected 0 with post_norm=True": {"post_norm": True},
    "scan=True; expected False where blocks differ": {"scan": True, "key_value_heads": [3, 1]},
    "no activation named 'swish'": {"activation": "swish"},
}


@pytest.mark.parametrize("message", WRONG)
def test_impossible_settings_are_refused(message: str) -> None:
    with pytest.raises(zoo.ZooError, match=message):
        eva.create(**{**TINY, **WRONG[message]})


def test_biases_of_relative_places_are_for_one_size() -> None:
    module = eva.create(**TINY, registers=0, rotary=None, relative_bias=True)
    with pytest.raises(zoo.ZooError, match=r"images of \(6, 4\) patches, .* resize the images, or pass"):
        jax.eval_shape(module.init, jax.random.key(0), np.zeros((2, 48, 32, 3)))


def test_images_that_patches_do_not_divide_are_refused() -> None:
    with pytest.raises(zoo.ZooError, match="or sides that patches of 8 x 8 divide"):
        jax.eval_shape(eva.create(**TINY).init, jax.random.key(0), np.zeros((2, 33, 32, 3)))
