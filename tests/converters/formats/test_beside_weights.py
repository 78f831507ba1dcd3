"""Values beside the weights do not matter, whatever they are; NumPy's arrays are weights, too."""

import argparse
import collections
import datetime
import functools
import io
import pathlib
import pickle
import types
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from converters import CheckpointError, read_checkpoint

WEIGHTS = torch.nn.Linear(3, 2).state_dict()


class Config(dict):
    pass


class Settings:
    def __init__(self):
        self.rate, self.weights = 0.1, torch.ones(2)


class Slots:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 0.1


BESIDE = {
    "Namespace": argparse.Namespace(lr=0.1, device=torch.device("cpu")),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "a dict of its own class": Config(lr=0.1, inner=Config(a=[1])),
    "an object": Settings(),
    "slots": Slots(),
    "a NumPy array": np.zeros(3),
    "NumPy's random state": np.random.get_state(),
    "NumPy's generator": np.random.default_rng(0),
    "objects in an array": np.array([None, "a"], object),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "Counter": collections.Counter("abc"),
    "deque": collections.deque([1, 2]),
    "datetime": datetime.datetime(2024, 1, 1),
    "Path": pathlib.PurePosixPath("runs/1"),
    "range": range(3),
    "frozenset": frozenset({1}),
    "slice": slice(1, 2),
    "a function": torch.nn.functional.relu,
    "functools.partial": functools.partial(torch.optim.AdamW, lr=1e-3),
    "a module": torch.nn.CrossEntropyLoss(weight=torch.ones(3)),
    "BytesIO": io.BytesIO(b"abc"),
    "an exception": ValueError("a"),
    "a parameter": [torch.nn.Parameter(torch.ones(2))],
    "a sparse tensor": torch.eye(2).to_sparse(),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", BESIDE)
def test_objects_beside_the_weights_do_not_matter(name, protocol, tmp_path):
    saved = {"state_dict": WEIGHTS, "epoch": 3, "beside": BESIDE[name]}
    torch.save(saved, tmp_path / "x.pth", pickle_protocol=protocol)
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.keys() == WEIGHTS.keys()
    assert all(np.array_equal(checkpoint[name], WEIGHTS[name].numpy()) for name in WEIGHTS)
    assert "left out 'epoch', 'beside'" in checkpoint.notes[0]


def test_objects_among_the_weights_are_noted(tmp_path):
    torch.save({**WEIGHTS, "_extra_state": io.BytesIO(b"abc")}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert checkpoint.keys() == WEIGHTS.keys()
    assert "left out what is no tensor: '_extra_state'" in checkpoint.notes


def test_weights_in_a_mapping_of_its_own_class_are_read(tmp_path):
    torch.save(Config(model=Config(WEIGHTS)), tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").keys() == WEIGHTS.keys()


ARRAYS = {
    "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped": np.arange(6, dtype=">f4").reshape(3, 2),
    "strided": np.arange(16.0).reshape(4, 4)[::2, ::2],
    "scalar": np.array(3.0),
    "empty": np.zeros((0, 3), np.float16),
    "integers": np.arange(3),
    "booleans": np.array([True, False]),
    "bfloat16": np.ones(3, ml_dtypes.bfloat16),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_are_weights_bit_for_bit(protocol, tmp_path):
    saved = {"model": ARRAYS, "__author__": "somebody", "matching_heuristics": True}  # as Detectron2's
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(saved, protocol))
    torch.save(ARRAYS, tmp_path / "x.pth", pickle_protocol=protocol)
    for file in ("x.pkl", "x.pth"):
        checkpoint = read_checkpoint(tmp_path / file)
        assert checkpoint.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert (checkpoint.shapes[name], checkpoint.dtypes[name]) == (array.shape, checkpoint[name].dtype)
            assert checkpoint[name].dtype == array.dtype.newbyteorder("=")
            assert checkpoint[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_in_a_plain_pickle_are_read(protocol, tmp_path):
    shared = torch.arange(6.0)
    state = {"a": shared[2:], "b": shared.reshape(2, 3).T, "c": shared[2:], "d": torch.ones(2).bfloat16()}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"net": state}, protocol))
    checkpoint = read_checkpoint(tmp_path / "x.pkl")
    assert {name: array.tolist() for name, array in checkpoint.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    assert checkpoint.aliases == {"c": "a"}


def test_a_nested_tree_of_arrays_has_dotted_names(tmp_path):
    tree = {"mlp/linear": {"w": np.ones((3, 2)), "b": np.ones(2)}, "mlp/norm": {"scale": np.ones(2)}}
    (tmp_path / "haiku.pkl").write_bytes(pickle.dumps(tree))
    checkpoint = read_checkpoint(tmp_path / "haiku.pkl")
    assert [*checkpoint] == ["mlp/linear.w", "mlp/linear.b", "mlp/norm.scale"]


def test_two_sets_of_arrays_are_ambiguous(tmp_path):
    arrays = {"w": np.ones(3)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": arrays, "ema": {"w": np.zeros(3)}}))
    with pytest.raises(CheckpointError, match="several sets of weights"):
        read_checkpoint(tmp_path / "x.pkl")
    assert read_checkpoint(tmp_path / "x.pkl", key="ema")["w"].tolist() == [0, 0, 0]


def torchscript(path):
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 2))).save(str(path))


def exported(path):
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.ones(1, 3),)), path)


def stable_baselines(path):
    torch.save(WEIGHTS, path.with_name("policy.pth"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_name("policy.pth"), "policy.pth")
        archive.writestr("data", "{}")


OTHERS = {
    "net.pt": (torchscript, "TorchScript archive"),
    "net.pt2": (exported, "torch.export"),
    "ppo.zip": (stable_baselines, "Stable-Baselines3; unzip it, and take its policy.pth"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_archives_of_others_are_named_for_what_they_are(name, tmp_path):
    write, words = OTHERS[name]
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / name)


def test_a_distributed_checkpoint_is_named_with_the_line_that_makes_a_file_of_it(tmp_path):
    (tmp_path / ".metadata").write_bytes(b"")
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(CheckpointError, match="dcp_to_torch"):
        read_checkpoint(tmp_path)


def test_files_nested_without_end_are_refused(tmp_path):
    class Nested:
        def __init__(self, data):
            self.data = data

        def __reduce__(self):
            return torch.storage._load_from_bytes, (self.data,)

    data = pickle.dumps({"w": 0})
    for _ in range(2000):
        data = pickle.dumps({"w": Nested(data)})
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "x.pkl")
