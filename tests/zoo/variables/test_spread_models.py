"""Models on eight devices and in two processes, against the same on one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import zoo
from converters.formats import INDEX_FILE
from tests.support.selection import selected, slow_but
from tests.zoo.variables import on_devices

pytestmark = pytest.mark.costly

ROOT = Path(__file__).parents[3]
TRANSFORMERS = on_devices.TRANSFORMERS
FAMILIES = slow_but(("mlp", "resnet", "gpt2"), on_devices.MODELS)


def run(module, devices, *arguments, **options):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-m", module, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def equal(first, second):
    return jax.tree.all(jax.tree.map(np.array_equal, first.variables, second.variables))


@pytest.fixture(scope="module")
def differences(request, tmp_path_factory):
    """Returns how far each family on eight devices is from the same on one."""
    chosen = selected(request, "family")
    process = run("tests.zoo.variables.on_devices", 8, tmp_path_factory.mktemp("devices"), *chosen)
    said = process.communicate()[0]
    assert process.returncode == 0
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spread_model_computes_what_it_does_on_one_device(differences, family):
    rules = differences[family]
    assert rules.keys() == {"fsdp", *(["tensor_parallel", "both"] if family in TRANSFORMERS else [])} | (
        {"batch"} if family == "resnet" else set()
    )
    for rule, found in rules.items():
        print(f"{family}, {rule}: logits {found['logits']:.1e}, gradients {found['gradients']:.1e}")
        assert found["logits"] <= 1e-10, rule
        assert found["gradients"] <= 1e-10, rule


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spread_model_has_the_arrays_of_the_file_in_parts(differences, family):
    limits = {"fsdp": 0.3, "tensor_parallel": 0.75, "both": 0.25}
    for rule, found in differences[family].items():
        if rule != "batch":
            assert found["same arrays"], rule
            assert found["share"] < limits[rule], rule


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spread_model_is_saved_in_files_with_an_index_and_comes_back(differences, family):
    for rule, found in differences[family].items():
        if rule != "batch":
            saved = found["saved"]
            count = len(saved["files"]) - 1
            names = [f"model-{index:05}-of-{count:05}.safetensors" for index in range(1, count + 1)]
            assert saved["files"] == [*names, INDEX_FILE]
            assert saved["same"], rule


def test_what_does_not_divide_is_said(differences):
    (note,) = differences["mlp"]["fsdp"]["notes"]
    assert note == (
        "every device has 1 array of 80 bytes whole, which do not divide by data=4; "
        "the largest is params/layers_1/bias (10,)"
    )
    assert differences["gpt2"]["fsdp"]["notes"] == []


def test_each_of_two_processes_reads_its_own_slices_and_writes_them(tmp_path):
    model = zoo.load("mlp_mnist", seed=2, hidden=(2048, 1024), num_classes=12)
    zoo.save(model, tmp_path / "from")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        run("tests.zoo.variables.on_processes", 4, index, port, tmp_path / "from", tmp_path / "to")
        for index in (0, 1)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    for figures in (json.loads(each.splitlines()[-1]) for each in said):
        assert figures["devices"] == 8
        assert figures["read"] == figures["own"]
        assert (
            0.5 <= figures["own"] / figures["all"] < 0.501
        )  # half, and the last bias, which does not divide
        assert "1 array of 48 bytes whole" in figures["notes"][0]
    assert equal(zoo.load(tmp_path / "to", pretrained=True), model)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "config.json",
        "model-00001-of-00001.safetensors",
        INDEX_FILE,
    ]
