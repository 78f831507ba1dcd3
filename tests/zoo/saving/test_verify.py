import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import zoo
from tests import make_goldens
from zoo._saving import save
from zoo._saving.verify import golden_path, verify, write_golden

NAMES = ("mlp_mnist", "cnn_mnist", "vae_mnist", "resnet20_cifar10")


@pytest.fixture
def model(saved, tmp_path):
    """A copy of a saved model, and its golden file."""

    def copy(name: str = "mlp_mnist"):
        shutil.copytree(saved[name], tmp_path / name)
        make_goldens.make(tmp_path / name)
        return tmp_path / name

    return copy


def rewrite(directory, function) -> None:
    """Changes the arrays, as a conversion would that is wrong but well-formed: the hash is right."""
    arrays = load_file(directory / "model.safetensors")
    function(arrays)
    entry = zoo.info(directory)
    golden = (directory / save.GOLDEN).read_bytes()
    save.write(directory, entry, lambda path: save_file(arrays, path), overwrite=True)
    (directory / save.GOLDEN).write_bytes(golden)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_those_of_pytorch_in_float64(name, model):
    directory = model(name)
    found = verify(directory)
    assert found.difference <= 1e-12
    assert found.num_params == zoo.info(name).num_params
    assert found.sha256 == zoo.info(directory).weights.sha256
    assert golden_path(found.file).stat().st_size < 50_000


def test_without_golden_outputs_the_rest_is_verified(saved):
    assert verify(saved["mlp_mnist"]).difference is None


def test_a_transposed_square_kernel_is_found(model):
    directory = model("vae_mnist")

    def transpose(arrays):
        kernel = arrays["params/encoder/layers_0/kernel"]
        kernel[:256] = kernel[:256].T.copy()

    rewrite(directory, transpose)
    with pytest.raises(
        zoo.WeightsError, match=r"encode is \d.*other weights, or this machine computes wrongly"
    ):
        verify(directory)


def test_a_flipped_byte_is_found(model):
    directory = model()
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(zoo.WeightsError, match="has sha256"):
        verify(directory)


def test_nan_is_found(model):
    directory = model()

    def spoil(arrays):
        arrays["params/layers_1/bias"][0] = np.nan

    rewrite(directory, spoil)
    with pytest.raises(zoo.WeightsError, match="has NaN or infinity in params/layers_1/bias"):
        verify(directory)


def test_another_number_of_parameters_is_found(model):
    directory = model()
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "num_params": 7}))
    with pytest.raises(zoo.WeightsError, match="has 101,770 parameters; its record says 7"):
        verify(directory)


def test_bfloat16_weights_are_verified_as_the_numbers_they_are(model):
    import ml_dtypes

    directory = model()
    variables = zoo.load(directory, pretrained=True, param_dtype="bfloat16")
    zoo.save(variables, directory, overwrite=True)
    assert not (directory / save.GOLDEN).exists()
    arrays = zoo.load(directory, pretrained=True).variables
    assert arrays["params"]["layers_0"]["kernel"].dtype == ml_dtypes.bfloat16
    assert verify(directory).difference is None


GOLDENS = {
    "no golden file": {"weight": np.ones(3)},
    "no outputs": {"__call__/inputs/0": np.ones((1, 28, 28, 1))},
    "other shapes": {"__call__/inputs/0": np.ones((1, 28, 28, 1)), "__call__/outputs/0": np.ones((1, 9))},
    "other inputs": {"__call__/inputs/0": np.ones((1, 27, 28, 1)), "__call__/outputs/0": np.ones((1, 10))},
    "another method": {"encode/inputs/0": np.ones((1, 28, 28, 1)), "encode/outputs/0": np.ones((1, 10))},
    "other values": {"__call__/inputs/0": np.ones((1, 28, 28, 1)), "__call__/outputs/0": np.ones((1, 10))},
    "NaN": {"__call__/inputs/0": np.ones((1, 28, 28, 1)), "__call__/outputs/0": np.full((1, 10), np.nan)},
    "nothing": {"__call__/inputs/0": np.ones((1, 28, 28, 1)), "__call__/outputs/0": np.ones((0, 10))},
}


@pytest.mark.parametrize("arrays", GOLDENS.values(), ids=GOLDENS)
def test_a_golden_file_that_is_not_this_models_verifies_nothing(arrays, model):
    directory = model()
    save_file(arrays, directory / save.GOLDEN)
    with pytest.raises(zoo.WeightsError):
        verify(directory)


def test_a_damaged_golden_file_verifies_nothing(model):
    directory = model()
    (directory / save.GOLDEN).write_bytes(b"\0" * 100)
    with pytest.raises(zoo.WeightsError, match="golden"):
        verify(directory)


def test_more_than_ten_inputs_stay_in_order(tmp_path):
    from zoo._saving.verify import _calls

    write_golden(tmp_path / "golden.safetensors", {"f": ([np.array(i) for i in range(12)], [np.ones(1)])})
    inputs, _ = _calls(tmp_path / "golden.safetensors")["f"]
    assert [int(each) for each in inputs] == list(range(12))


BUNDLED = [
    name for name in zoo.list_models(pretrained=True) if str(zoo.info(name).weights).startswith("bundled")
]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_have_golden_outputs_that_are_right(name):
    found = verify(name)
    assert found.difference <= 1e-12
    assert golden_path(found.file).stat().st_size < 50_000
