import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.cases.maxvits import MAXVIT
from tests.equivalence import FORWARD, difference, randomise, state_dict
from tests.reference import published
from zoo import maxvit
from zoo.maxvit.layers import PartitionAttention

SIZES = maxvit.create(**MAXVIT).sizes


def test_a_grid_lies_over_oblongs_as_in_timm():
    """torchvision's refuses them; its layers, on what timm's partition makes of one."""
    published.declare_operators()
    from timm.models.maxxvit import grid_partition, grid_reverse
    from torchvision.models.maxvit import PartitionAttentionLayer

    theirs = PartitionAttentionLayer(
        in_channels=8,
        head_dim=4,
        partition_size=3,
        partition_type="grid",
        grid_size=(6, 6),
        mlp_ratio=4,
        activation_layer=torch.nn.GELU,
        norm_layer=torch.nn.LayerNorm,
        attention_dropout=0.0,
        mlp_dropout=0.0,
        p_stochastic_dropout=0.0,
    )
    theirs = published.without_buffers(randomise(theirs))
    x = np.random.default_rng(1).normal(size=(2, 6, 9, 8))
    with torch.no_grad():
        windows = grid_partition(torch.from_numpy(x), (3, 3)).reshape(2, 6, 9, 8)
        for layer in (theirs.attn_layer, theirs.mlp_layer):
            windows = windows + layer(windows)
        expected = grid_reverse(windows.reshape(-1, 3, 3, 8), (3, 3), (6, 9)).numpy()
    ours = PartitionAttention(SIZES, 8, grid=True, rate=0.0)
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(theirs), ours, x)
        found = np.asarray(jax.jit(ours.apply)(variables, x))
    assert difference(found, expected) <= FORWARD


def test_maps_are_half_to_a_thirty_second_of_the_image():
    module = maxvit.create(head="maps", out_indices=range(5)).clone(dtype="bfloat16")  # as training does
    maps, variables = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), jnp.zeros((1, 224, 448, 3)))
    )
    assert [each.shape[1:3] for each in maps] == [(224 // n, 448 // n) for n in (2, 4, 8, 16, 32)]
    assert [each.shape[3] for each in maps] == [64, 64, 128, 256, 512]
    assert maps[-1].dtype == jnp.bfloat16
    assert not any("classifier" in name for name in variables["params"])


def test_images_that_windows_do_not_divide_are_refused():
    module = maxvit.create()
    with pytest.raises(
        zoo.ZooError, match=r"\(1, 224, 225, 3\); expected \(batch, 224, 224, 3\), or sides whose"
    ):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 224, 225, 3)))
