import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from tests.reference import published
from zoo import swin
from zoo.swin.layers import log_offsets

TINY = {"width": 8, "blocks": [2, 1, 1, 1], "heads": [1, 2, 2, 2], "num_classes": 5}


def output(*shape, dtype=None, **config):
    """Shape and dtype of what images of that shape give; nothing is computed."""
    module = swin.create(**TINY | config, dtype=dtype)
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros(shape)))


@pytest.mark.parametrize(("size", "version"), [("s", 1), ("t", 2)])
def test_each_size_has_the_tensors_and_rates_of_torchvisions(size, version):
    published.declare_operators()
    import torch
    from torchvision.models import get_model

    with torch.device("meta"):
        theirs = get_model(f"swin_{'v2_' * (version - 1)}{size}")
    module = swin.create(variant=size, version=version)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == sum(parameter.numel() for parameter in theirs.parameters())
    last = theirs.features[-1][-1]
    assert module.stochastic_depth == last.stochastic_depth.p


def test_maps_are_a_quarter_to_a_thirty_second_of_the_image():
    maps, variables = output(2, 64, 96, 3, head="maps", out_indices=[1, 2, 3, 4], dtype="bfloat16")
    assert [each.shape for each in maps] == [(2, 16 // n, 24 // n, 8 * n) for n in (1, 2, 4, 8)]
    assert maps[0].dtype == jnp.bfloat16
    assert "head" not in variables["params"]


def test_offsets_of_windows_that_grew_are_timms_to_the_last_digit():
    published.declare_operators()
    from timm.models.swin_transformer_v2 import WindowAttention

    theirs = WindowAttention(4, (24, 24), 2, pretrained_window_size=[12, 12]).relative_coords_table
    found = log_offsets((24, 24), (12, 12))
    np.testing.assert_array_equal(found, theirs.numpy().reshape(-1, 2))


def test_in_float16_windows_with_padding_are_finite():
    """Keys of version 2 have no bias: those of the padding are zeros, whose length is divided by."""
    module = swin.create(version=2, width=8, blocks=[1], heads=[2], window_size=4, dtype="float16")
    images = np.random.default_rng(0).random((1, 20, 28, 3), np.float32)
    found, _ = jax.jit(module.init_with_output)(jax.random.key(0), images)
    assert found.dtype == jnp.float16
    assert np.isfinite(found).all()


def test_a_file_of_torchvision_is_read_without_its_buffers(tmp_path):
    published.declare_operators()
    import torch
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    theirs = SwinTransformer(
        patch_size=[4, 4],
        embed_dim=8,
        depths=[2, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=[8, 8],
        num_classes=5,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    model = zoo.convert(tmp_path / "swin.pth", model="swin_v2_t", **TINY)
    assert "left out 10 tensors" in str(model.notes)
    kernel = model.variables["params"]["head"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs.head.weight.detach().numpy().T)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"variant": "xl"}, "no variant 'xl'; choose one of t, s, b, l"),
        ({"image_size": 16}, "image_size=16: expected 32 pixels or more each way"),
        ({"heads": [1, 2]}, r"heads=\(1, 2\): expected as many heads, which share \[8, 16, 32, 64\]"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config, message):
    with pytest.raises(zoo.ZooError, match=message):
        swin.create(**TINY | config)
