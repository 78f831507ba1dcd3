"""Wrong inputs that a new user passes to a model, and the message of every family."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import zoo
from zoo import bert, cnn, gpt2, mlp, resnet, transformer, vae, vit

TEXT = {"vocab_size": 9, "max_length": 6, "width": 4, "depth": 1, "heads": 2}
# Family -> the smallest module, and inputs that it takes.
MODELS = {
    "mlp": (mlp.create(hidden=[4]), [(2, 8, 12, 1)]),
    "cnn": (cnn.create(channels=[2, 2], hidden=4), [(2, 8, 8, 1)]),
    "cnn, not square": (cnn.create(channels=[2, 2], hidden=4), [(2, 8, 12, 3)]),
    "resnet": (resnet.create(depth=20, channels=2, stem="cifar", shortcut="pad"), [(2, 8, 12, 3)]),
    "vit": (vit.create(image_size=[8, 12], patch_size=4, width=4, depth=1, heads=2), [(2, 8, 12, 3)]),
    "vae": (vae.create(input_shape=[8, 12, 3]), [(2, 8, 12, 3), (2,)]),
    "bert": (bert.create(**TEXT, feed_forward=4), [(2, 5)]),
    "gpt2": (gpt2.create(**TEXT), [(2, 5)]),
    "transformer": (
        transformer.create(
            source_vocab_size=9,
            target_vocab_size=9,
            width=4,
            heads=2,
            encoder_layers=1,
            decoder_layers=1,
            feed_forward=4,
        ),
        [(2, 5), (2, 4)],
    ),
}
TOKENS = {"bert": "input_ids", "gpt2": "input_ids", "transformer": "source_ids"}
NCHW, ONE_NCHW = "jnp.transpose(images, (0, 2, 3, 1))", "jnp.transpose(images, (1, 2, 0))[None]"

# Family, the shape of its first input -> what mends it, or what was expected where nobody knows.
SHAPES = [
    ("mlp", (8, 12, 1), "(8, 12, 1) lack the axis of the batch; .* with 96 numbers .*: pass inputs[None]."),
    ("mlp", (96,), "expected (batch, 96), .*: pass inputs[None]."),
    ("mlp", (2, 8, 12, 3), "inputs of shape (2, 8, 12, 3); expected (batch, 96)"),
    ("cnn", (8, 8, 1), "lack the axis of the batch; expected (batch, 8, 8, 1): pass images[None]."),
    ("cnn", (8, 8), "(8, 8) lack the axes of batch and channels; .*: pass images[None, ..., None]."),
    ("cnn", (2, 8, 8), "(2, 8, 8) lack the axis of channels; .*: pass images[..., None]."),
    ("cnn", (2, 1, 8, 8), f"have their channels first; .*: pass {NCHW}."),
    ("cnn", (2, 64), "(2, 64) are flat; .*: pass images.reshape(-1, 8, 8, 1)."),
    ("cnn", (64,), "are flat, and lack the axis of the batch; .*: pass images.reshape(1, 8, 8, 1)."),
    ("cnn", (2, 8, 8, 3), "have 3 channels; .*(batch, 8, 8, 1): pass images.mean(-1, keepdims=True)."),
    ("cnn", (2, 3, 32, 32), f"have channels first, 3 of them; .*: pass {NCHW}."),
    ("cnn", (2, 9, 16, 1), "expected (batch, 8, 8, 1): zoo.preprocess makes pictures fit."),
    ("cnn, not square", (2, 12, 12, 3), "(batch, height, width, 3) with (height // 4) * (width // 4) = 6:"),
    ("resnet", (8, 12, 3), "expected (batch, height, width, 3): pass images[None]."),
    ("resnet", (2, 3, 8, 12), f"have their channels first; .*: pass {NCHW}."),
    ("resnet", (3, 8, 12), f"channels first, and lack the axis of the batch; .*: pass {ONE_NCHW}."),
    ("resnet", (2, 8, 12, 1), "have 1 channel; .*: pass jnp.repeat(images, 3, axis=-1)."),
    ("resnet", (2, 8, 12, 4), "have 4 channels; .*: pass images[..., :3]."),
    ("resnet", (2, 288), "(2, 288); expected (batch, height, width, 3)"),
    ("vit", (8, 12, 3), "expected (batch, 8, 12, 3), .*: pass images[None]."),
    ("vit", (2, 3, 8, 12), f"have their channels first; .*: pass {NCHW}."),
    ("vit", (2, 288), "are flat; .*: pass images.reshape(-1, 8, 12, 3)."),
    ("vit", (2, 9, 12, 3), "or sides that patches of 4 x 4 divide: zoo.preprocess makes pictures fit."),
    ("vit", (2, 8, 12, 1), "have 1 channel; .*: pass jnp.repeat(images, 3, axis=-1)."),
    ("vae", (8, 12, 3), "expected (batch, 8, 12, 3): pass images[None]."),
    ("vae", (2, 3, 8, 12), f"have their channels first; .*: pass {NCHW}."),
    ("vae", (2, 8, 12, 1), "have 1 channel; .*: pass jnp.repeat(images, 3, axis=-1)."),
    ("vae", (2, 9, 12, 3), "(2, 9, 12, 3); expected (batch, 8, 12, 3): zoo.preprocess makes pictures fit."),
    ("bert", (5,), "input_ids of shape (5,) lack the axis of the batch; .*: pass input_ids[None]."),
    ("bert", (2, 3, 5), "input_ids of shape (2, 3, 5); expected (batch, length)."),
    ("gpt2", (5,), "input_ids of shape (5,) lack the axis of the batch; .*: pass input_ids[None]."),
    ("transformer", (5,), "source_ids of shape (5,) lack the axis of the batch; .*: pass source_ids[None]."),
    ("transformer", (3, 5), "source_ids of shape (3, 5) and target_ids of shape (2, 4); .* as many texts"),
]


def dtypes(family: str) -> list[str]:
    return ["int32"] * 2 if family in TOKENS else ["float32", "int32"]


@pytest.fixture(scope="module")
def shapes():
    """The arrays of each module, as shapes."""

    def init(module, inputs):
        arrays = [jnp.zeros(shape, dtype) for shape, dtype in inputs]
        return module.init({"params": jax.random.key(0), "noise": jax.random.key(1)}, *arrays)

    return {
        name: jax.eval_shape(lambda m=module, i=inputs, n=name: init(m, zip(i, dtypes(n), strict=False)))
        for name, (module, inputs) in MODELS.items()
    }


def call(shapes, family, first, dtype=None):
    """Runs the shapes of a family's module, with another first input."""
    module, (_, *others) = MODELS[family]
    kinds = [dtype or dtypes(family)[0], *dtypes(family)[1:]]
    given = [jax.ShapeDtypeStruct(shape, kind) for shape, kind in zip([first, *others], kinds, strict=False)]
    rngs = {"noise": jax.random.key(0)}
    return jax.eval_shape(
        lambda variables, *x: module.apply(variables, *x, rngs=rngs), shapes[family], *given
    )


@pytest.mark.parametrize(("family", "shape", "message"), SHAPES)
def test_an_input_of_another_shape_is_refused_with_what_mends_it(family, shape, message, shapes):
    with pytest.raises(zoo.ZooError, match=re.escape(message).replace(r"\.\*", ".*")):
        call(shapes, family, shape)


@pytest.mark.parametrize("family", ["cnn", "resnet", "vit", "vae"])
def test_pixels_that_are_integers_are_refused(family, shapes):
    with pytest.raises(zoo.ZooError, match=r"images are uint8, expected floats; zoo.preprocess makes them"):
        call(shapes, family, MODELS[family][1][0], "uint8")


@pytest.mark.parametrize(("family", "name"), TOKENS.items())
def test_tokens_that_are_floats_are_refused(family, name, shapes):
    with pytest.raises(zoo.ZooError, match=rf"{name} are float32 .*; or pass {name}.astype\(jnp.int32\)"):
        call(shapes, family, MODELS[family][1][0], "float32")


@pytest.mark.parametrize("family", [name for name in MODELS if name not in TOKENS])
def test_a_path_is_no_image(family, shapes):
    module, (_, *others) = MODELS[family]
    with pytest.raises(zoo.ZooError, match=r"are no numbers but str; zoo.preprocess makes arrays of pict"):
        jax.eval_shape(lambda variables: module.apply(variables, "a.png", *others), shapes[family])


@pytest.mark.parametrize("family", TOKENS)
def test_a_text_is_no_tokens(family, shapes):
    module = MODELS[family][0]
    with pytest.raises(zoo.ZooError, match=r"are texts, expected whole numbers: zoo.tokenizer makes ids"):
        jax.eval_shape(lambda variables: module.apply(variables, "a text", None), shapes[family])


@pytest.mark.parametrize("family", MODELS)
def test_any_size_of_batch_is_one_program(family, shapes):
    """Exports with a batch of unknown size; the vae without its noise, whose shape has to be known."""
    module, inputs = MODELS[family]
    scope = export.SymbolicScope()
    symbolic = [
        jax.ShapeDtypeStruct(
            export.symbolic_shape(", ".join(["b", *map(str, shape[1:])]), scope=scope), dtype
        )
        for shape, dtype in zip(inputs, dtypes(family), strict=False)
    ]
    if family == "vae":
        latents = jax.eval_shape(
            lambda v, x: module.apply(v, x, method="encode"), shapes[family], symbolic[0]
        )
        assert str(latents[0].shape[0]) == "b"
        return
    out = jax.eval_shape(module.apply, shapes[family], *symbolic)
    assert all(str(leaf.shape[0]) == "b" for leaf in jax.tree.leaves(out))


def test_examples_may_come_flat_or_without_axes_of_one(shapes):
    for family, shape in (("mlp", (2, 96)), ("mlp", (2, 1, 8, 12)), ("vae", (2, 288))):
        call(shapes, family, shape)


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 32, 32, 3)])
def test_a_resnet_takes_images_of_any_size(shape, shapes):
    assert call(shapes, "resnet", shape).shape == (shape[0], 1000)


def test_a_class_that_the_decoder_lacks_is_refused():
    module = vae.create(input_shape=[2, 2, 1], latent_dim=2)
    given = jnp.zeros((2, 2)), np.array([0, 10])
    with pytest.raises(zoo.ZooError, match=r"labels\[1\] is 10; the classes are 0 to 9"):
        jax.eval_shape(lambda: module.init(jax.random.key(0), *given, method="decode"))
