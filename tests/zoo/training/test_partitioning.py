"""Training on eight devices that XLA makes of one processor, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support.selection import selected, slow_but
from tests.zoo.training import on_eight_devices
from zoo.training import TrainingError
from zoo.training.partitioning import make_partitioner

pytestmark = pytest.mark.costly

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-W", "error", "-m", "tests.zoo.training.on_eight_devices"]
    command += selected(request, "family")
    eight = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(command, cwd=ROOT, env=eight, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", slow_but(("mlp", "resnet", "gpt2"), on_eight_devices.CASES))
def test_five_updates_on_a_mesh_end_as_on_one_device(family, found):
    print(f"{family}: {found[family]}")
    assert found[family].pop("learnt") > 1e-3
    assert max(found[family].values()) <= 1e-10


def test_shares_of_the_params_and_copies_of_them_were_tried(found):
    assert all("data=4,model=2" in each for each in found.values())
    assert sum("data=8" in each for each in found.values()) == len(on_eight_devices.PLAIN)


def test_a_mesh_of_one_device_is_one(recipe):
    where = make_partitioner("data=1", None, recipe)
    assert where.shares == 1
    np.testing.assert_array_equal(where.examples(np.arange(5)), np.arange(5))


@pytest.mark.parametrize(
    ("mesh", "refusal"),
    [
        ("data4", r"'data4' is no mesh; spell it data=4, or data=4,model=2\."),
        ("data=0", "'data=0' is no mesh"),
        ("dat=1", r"the axes of 'dat=1' are dat; expected data .* and model"),
        ("data=1,data=1", "the axes of 'data=1,data=1' are data, data"),
        ("model=1", r"the mesh's axes are \('model',\); one has to be 'data'"),
        ("data=4,model=2", f"is a mesh of 8 devices; there are {jax.device_count()}"),
    ],
)
def test_what_is_no_mesh_of_the_devices_is_refused(mesh, refusal, recipe):
    with pytest.raises(TrainingError, match=refusal):
        make_partitioner(mesh, None, recipe)
