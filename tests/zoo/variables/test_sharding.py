"""Where rules of sharding put arrays."""

import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

import zoo
from tests.zoo.variables import on_devices
from zoo._loading.build import build
from zoo._registry import families
from zoo._variables import init
from zoo._variables.sharding import ShardingRule

TRANSFORMERS = on_devices.TRANSFORMERS


def mesh(shape=(1, 1), names=("data", "model"), kind=AxisType.Auto):
    return Mesh(np.array(jax.devices()[:1]).reshape(shape), names, axis_types=(kind,) * len(names))


def test_a_mesh_that_does_not_fit_is_refused():
    with pytest.raises(zoo.ZooError, match="the mesh has no axis 'batch'; it has 'data', 'model'"):
        zoo.fsdp(mesh(), "batch")
    with pytest.raises(zoo.ZooError, match="the mesh has no axis 'x'"):
        zoo.tensor_parallel(mesh(), "gpt2", axis="x")
    with pytest.raises(zoo.ZooError, match="the mesh has no axis 'y'"):
        zoo.tensor_parallel(mesh(), "gpt2", fsdp="y")
    with pytest.raises(zoo.ZooError, match=r"axis= and fsdp= are both 'model'"):
        zoo.tensor_parallel(mesh(), "gpt2", fsdp="model")
    with pytest.raises(zoo.ZooError, match=r"4 is no jax\.sharding\.Mesh"):
        zoo.fsdp(4)
    with pytest.raises(zoo.ZooError, match=r"axes are Explicit, Explicit, expected Auto: jax\.make_mesh\("):
        zoo.fsdp(mesh(kind=AxisType.Explicit))
    for family in ("resnet", "nothing", "../gpt2"):
        with pytest.raises(zoo.ZooError, match=f"family '{family}' has no table for tensor parallelism"):
            zoo.tensor_parallel(mesh(), family)


class Devices:
    """A mesh's sizes, for rules that are asked where arrays go and put none there."""

    def __init__(self, **shape):
        self.shape = shape


def spec(rule, path, *shape):
    return tuple(rule._spec(path, shape))


def test_the_largest_axis_that_divides_is_spread():
    rule = ShardingRule(mesh=Devices(data=4), table={}, model=None, fsdp="data")
    assert spec(rule, "params/x", 8, 16) == (None, "data")
    assert spec(rule, "params/x", 16, 6) == ("data", None)
    assert spec(rule, "params/x", 16, 16) == ("data", None)
    assert spec(rule, "params/x", 3, 5) == (None, None)
    assert spec(rule, "params/x") == ()
    assert spec(rule, "params/x", 0, 4) == (None, "data")


def test_tables_name_the_last_axes_and_leave_the_others_to_fsdp():
    table = {"(up|gate)/kernel": (None, "model"), "down/kernel": ("model", None), "up/bias": ("model",)}
    rule = ShardingRule(mesh=Devices(data=4, model=2), table=table, model="model", fsdp="data")
    assert spec(rule, "params/up/kernel", 8, 16) == ("data", "model")
    assert spec(rule, "params/h/gate/kernel", 8, 16) == ("data", "model")
    assert spec(rule, "params/h/down/kernel", 3, 16, 12) == (None, "model", "data")
    assert spec(rule, "params/wakeup/kernel", 8, 16) == (None, "data")
    assert spec(rule, "params/up/bias", 7) == (None,)
    assert spec(rule, "params/up/kernel", 8, 15) == ("data", None)


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_every_pattern_of_a_table_is_of_some_array(family):
    name, config, _ = on_devices.MODELS[family]
    module, entry = build(zoo.info(name), config=config)
    shapes = init.shapes(module, entry.inputs)
    for pattern, axes in families.named(family).tensor_parallel.items():
        found = [path for path in shapes if re.fullmatch(f"(.*/)?({pattern})", path)]
        assert found, pattern
        assert all(len(shapes[path].shape) == len(axes) for path in found), pattern
