"""Autoencoders of latents: their files, their configurations, and what the tests of outputs do not ask."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch

import converters
import zoo
from tests.equivalence import randomise, state_dict
from tests.reference.latents import TAESD, AutoencoderKL
from zoo import autoencoder_kl, taesd
from zoo._loading import transformers_config

# As diffusers writes it: of FLUX, but for the sizes.
KL = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.30.0.dev0",
    "_name_or_path": "../checkpoints/flux-dev",
    "act_fn": "silu",
    "block_out_channels": [8, 12],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 3,
    "latents_mean": None,
    "latents_std": None,
    "layers_per_block": 1,
    "mid_block_add_attention": True,
    "norm_num_groups": 4,
    "out_channels": 3,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}
TINY = {
    "_class_name": "AutoencoderTiny",
    "act_fn": "relu",
    "block_out_channels": [6, 6],
    "decoder_block_out_channels": [6, 6],
    "encoder_block_out_channels": [8, 8],
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 16,
    "latent_magnitude": 3,
    "latent_shift": 0.5,
    "num_decoder_blocks": [1, 1],
    "num_encoder_blocks": [1, 1],
    "out_channels": 3,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
    "upsample_fn": "nearest",
    "upsampling_scaling_factor": 2,
}


@pytest.fixture(scope="module")
def autoencoder():
    return randomise(AutoencoderKL((8, 12), 1, 3, 4, quantized=False, old=True)).float()


def write(directory, config, tensors, file="diffusion_pytorch_model.safetensors"):
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    if file.endswith(".bin"):
        torch.save({name: torch.tensor(array) for name, array in tensors.items()}, directory / file)
    else:
        safetensors.numpy.save_file(tensors, directory / file)
    return directory


def zeros(module, x):
    """Its variables, all of them 0."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_a_directory_of_diffusers_is_loaded_by_its_config(end, autoencoder, tmp_path):
    """Loads files in the names that most repositories' files have, from before diffusers 0.15."""
    tensors = state_dict(autoencoder)
    directory = write(tmp_path / "vae", KL, tensors, f"diffusion_pytorch_model.{end}")
    model = zoo.load(directory, pretrained=True)
    assert isinstance(model.module, autoencoder_kl.AutoencoderKL)
    assert model.num_params == sum(array.size for array in tensors.values())
    to_q = model.variables["params"]["encoder"]["mid_block"]["attentions_0"]["to_q"]["kernel"]
    np.testing.assert_array_equal(to_q, tensors["encoder.mid_block.attentions.0.query.weight"].T)
    latents = np.float32([[[[1, 2, 3]]]])
    np.testing.assert_allclose(model(latents, method="scale"), (latents - 0.1159) * 0.3611, rtol=1e-6)
    back = model(model(latents, method="scale"), method="unscale")
    np.testing.assert_allclose(back, latents, rtol=1e-5)


def test_one_without_attention_is_loaded_too(tmp_path):
    twin = randomise(AutoencoderKL((8, 12), 1, 3, 4, quantized=False, attention=False)).float()
    directory = write(tmp_path / "vae", KL | {"mid_block_add_attention": False}, state_dict(twin))
    assert zoo.load(directory, pretrained=True).num_params == sum(each.numel() for each in twin.parameters())


def test_tiny_autoencoders_are_loaded_by_their_config(tmp_path):
    tensors = state_dict(randomise(TAESD((8, 6), 16, (1, 1), (1, 1))).float())
    model = zoo.load(write(tmp_path / "taef1", TINY, tensors), pretrained=True)
    assert isinstance(model.module, taesd.AutoencoderTiny)
    assert model.num_params == sum(array.size for array in tensors.values())


WRONG = {
    "stages": (KL, {"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "AttnDownEncoderBlock2D"),
    "activation": (KL, {"act_fn": "tanhshrink"}, "activation 'tanhshrink'; the zoo has"),
    "option": (KL, {"new_option": True}, "new_option: True; nobody has said what it means"),
    "number": (KL, {"scaling_factor": "1"}, "scaling_factor: '1'; expected a number"),
    "sampling": (TINY, {"upsample_fn": "bilinear"}, "upsample_fn: 'bilinear'; the zoo has 'nearest' only"),
    "widths": (TINY, {"encoder_block_out_channels": [8, 4]}, r"encoder_widths=\(8, 4\); expected one number"),
    "class": (TINY, {"_class_name": "VQModel"}, "'vqmodel'; the zoo has .*autoencoderkl, autoencodertiny"),
}


@pytest.mark.parametrize(("config", "changed", "message"), WRONG.values(), ids=WRONG)
def test_other_configurations_are_refused_by_name(config, changed, message):
    content = json.dumps(config | changed).encode()
    assert transformers_config.is_hub_config(content)
    with pytest.raises(zoo.ZooError, match=message):
        transformers_config.entry("vae", content, lambda file: None)


REFUSED = {
    "groups": ({"widths": (8, 10), "groups": 4}, r"widths=\(8, 10\); expected multiples of groups=4"),
    "statistics": ({"latents_std": (1.0,)}, "latents_std has 1 numbers; expected 4"),
    "stages": ({"up_block_types": ("UpDecoderBlock2D",)}, "the zoo has 'UpDecoderBlock2D', once for each"),
}


@pytest.mark.parametrize(("config", "message"), REFUSED.values(), ids=REFUSED)
def test_what_there_is_not_is_refused(config, message):
    with pytest.raises(zoo.ZooError, match=message):
        autoencoder_kl.create(**config)


def test_the_authors_files_have_their_own_names():
    """Their decoder counts its stages from the end, and attention is of 1x1 convolutions."""
    module = autoencoder_kl.create(widths=(2, 4, 4, 6), groups=2, depth=1)
    x = jnp.zeros((1, 8, 8, 3))
    variables = zeros(module, x)
    names = autoencoder_kl.TORCH_NAMES["original"]
    tensors = converters.to_torch(variables, module, x, names=names)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    expected = {
        "encoder.down.1.block.0.nin_shortcut.weight": (4, 2, 1, 1),
        "encoder.down.2.downsample.conv.weight": (4, 4, 3, 3),
        "encoder.mid.attn_1.q.weight": (6, 6, 1, 1),
        "encoder.mid.attn_1.norm.bias": (6,),
        "encoder.mid.block_2.conv1.weight": (6, 6, 3, 3),
        "encoder.norm_out.weight": (6,),
        "decoder.mid.attn_1.proj_out.weight": (6, 6, 1, 1),
        "decoder.up.0.block.0.nin_shortcut.weight": (2, 4, 1, 1),
        "decoder.up.3.block.1.norm2.weight": (6,),
        "decoder.up.3.upsample.conv.weight": (6, 6, 3, 3),
        "decoder.up.2.block.0.conv1.weight": (4, 6, 3, 3),
        "quant_conv.weight": (8, 8, 1, 1),
    }
    assert expected.items() <= shapes.items()
    assert len(shapes) == len(jax.tree.leaves(variables))
    again = converters.convert(
        tensors | {"loss.logvar": np.zeros(1)}, module, x, names=names, ignore=["loss.*"]
    )
    assert jax.tree.map(np.shape, again) == jax.tree.map(np.shape, variables)


def test_the_authors_of_taesd_keep_encoder_and_decoder_apart():
    """Their decoder begins with the function that limits latents, and so counts one further."""
    twin = randomise(TAESD((8, 6), 4, (1, 1), (1, 1)))
    encoder = {f"encoder.{name}": each for name, each in state_dict(twin.encoder.layers).items()}
    decoder = {
        f"decoder.{int(index) + 1}.{rest}": each
        for name, each in state_dict(twin.decoder.layers).items()
        for index, _, rest in [name.partition(".")]
    }
    config = {"encoder_widths": (8, 8), "decoder_widths": (6, 6)}
    module = taesd.create(**config, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 6, 4, 3))
    theirs = converters.convert({**encoder, **decoder}, module, x, names=taesd.TORCH_NAMES["original"])
    jax.tree.map(np.testing.assert_array_equal, theirs, converters.convert(state_dict(twin), module, x))


def test_latents_are_drawn_as_gaussians():
    module = autoencoder_kl.create(
        widths=(2, 2), groups=1, depth=1, latents_mean=(1, 2, 3, 4), latents_std=(2,) * 4
    )
    mean, logvar = jnp.full((1, 50, 50, 4), 5.0), jnp.full((1, 50, 50, 4), jnp.log(4.0))
    draw = jax.jit(lambda key: module.apply({}, mean, logvar, method="reparameterize", rngs={"noise": key}))
    latents = draw(jax.random.key(0))
    assert latents.mean() == pytest.approx(5, abs=0.1)
    assert latents.std() == pytest.approx(2, abs=0.1)
    scaled = module.apply({}, mean, method="scale")
    np.testing.assert_allclose(scaled[0, 0, 0], (5 - np.arange(1, 5)) / 2 * 0.18215, rtol=1e-6)


def test_variances_are_bounded_and_small_images_refused():
    module = autoencoder_kl.create(widths=(2, 2), groups=1, depth=1)
    variables = zeros(module, jnp.zeros((1, 4, 4, 3)))
    variables["params"]["quant_conv"]["bias"] = jnp.array([0.0] * 4 + [99.0, -99.0, 1.0, 1.0])
    _, logvar = jax.jit(lambda x: module.apply(variables, x, method="encode"))(jnp.zeros((1, 5, 4, 3)))
    assert logvar.shape == (1, 2, 2, 4)
    assert logvar[0, 0, 0].tolist() == [20, -30, 1, 1]
    with pytest.raises(zoo.ZooError, match="of at least 2 pixels each way"):
        module.apply(variables, jnp.zeros((1, 1, 8, 3)), method="encode")
    with pytest.raises(zoo.ZooError, match=r"latents of shape \(1, 8, 8, 3\).*; expected \(batch, height"):
        module.apply(variables, jnp.zeros((1, 8, 8, 3)), method="decode")
