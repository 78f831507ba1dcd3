import jax
import pytest

import zoo
from zoo import mobile


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ir k3 x7 c16", "'x7' in 'ir k3 x7 c16'; expected words as k3"),
        ("conv c16", "'conv c16'; expected one of ds, dsa, ir, er, cn, uir"),
        ("ir m24", "'ir m24'; expected one of"),
        ("uir s2 m24 c16", "'uir s2 m24 c16'; expected one of"),  # no kernel has the stride
        ("", "''; expected one of"),
    ],
)
def test_blocks_in_other_words_are_refused(words, message):
    with pytest.raises(zoo.ZooError, match=message):
        mobile.create(stages=[[words]])


def test_equal_words_are_equal_modules():
    """Lists of a config and tuples make one module, so that a program is compiled once."""
    one, other = (mobile.create(stages=kind([kind(["ir r2 s2 m8 c4"])])) for kind in (list, tuple))
    assert one == other
    assert [(block.stride, block.inside) for block in one.stages[0]] == [(2, 8), (1, 8)]


def test_maps_are_those_of_stages_and_the_stem():
    stages = [["ds c4"], ["ir s2 m8 c6"], ["cn k1 c8"]]
    net = mobile.create(stages=stages, stem_channels=4, head="maps", out_indices=[0, 2, 3])
    maps, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), jax.numpy.zeros((1, 32, 48, 3)))
    assert [each.shape for each in maps] == [(1, 16, 24, 4), (1, 8, 12, 6), (1, 8, 12, 8)]
    assert [level.reduction for level in net.levels] == [2, 2, 4, 4]
