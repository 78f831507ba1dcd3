import flax.linen as nn
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis.extra import numpy as shapes

import converters
from converters.io import slices
from converters.io.files import InputFile
from converters.matching import joining

DTYPES = ("float32", "bfloat16", "int64", "bool", "complex64", "float8_e4m3fn")
KINDS = ("transpose", "flip", "cut", "unflatten", "step")
MOVES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9)), max_size=4)


def moved(array, moves):
    """The array after some of the moves that conversion rules make."""
    for kind, first, second in moves:
        axis = first % array.ndim
        size, second = array.shape[axis], second % max(array.shape[axis], 1)
        if kind == "transpose":
            array = np.moveaxis(array, axis, second % array.ndim)
        elif kind == "flip":
            array = np.flip(array, axis)
        elif kind == "cut" and second:
            array = np.split(array, [second], axis)[first % 2]
        elif kind == "step":
            array = array[(slice(None),) * axis + (slice(None, None, 2),)]
        elif kind == "unflatten" and array.ndim < 5 and second and size % second == 0:
            array = array.reshape(*array.shape[:axis], size // second, second, *array.shape[axis + 1 :])
    return array


def box_in(data, shape):
    limits = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    return tuple((start, stop) for start, stop in limits)


def written(directory, suffix, tensors):
    path = directory.mktemp("slices") / f"x{suffix}"
    converters.write_checkpoint({"before": np.zeros(3, "uint8"), **tensors}, path)
    checkpoint = converters.read_checkpoint(path)
    return checkpoint, [checkpoint.extent(name) for name in tensors]


def random(shape, dtype="float32"):
    return (
        np.random.default_rng(0)
        .integers(0, 2 if dtype == "bool" else 99, shape)
        .astype(jax.numpy.dtype(dtype))
    )


def unread():
    raise AssertionError("a tensor was read whole")


@pytest.fixture
def counted(monkeypatch):
    """How many bytes were read of files."""
    counts, read_into = [], InputFile.read_into

    def counting(file, offset, buffer):
        counts.append(buffer.size)
        read_into(file, offset, buffer)

    monkeypatch.setattr(InputFile, "read_into", counting)
    return counts


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), shapes.array_shapes(max_dims=4), MOVES, st.integers(16, 300))
def test_any_slice_of_a_moved_tensor_is_numpys(tmp_path_factory, suffix, data, dtype, shape, moves, scratch):
    if dtype == "complex64" and suffix == ".safetensors":
        dtype = "float64"
    tensor = random(shape, dtype)
    _, extents = written(tmp_path_factory, suffix, {"x": tensor})
    expected = moved(tensor, moves)
    (array,) = slices.in_files(extents, lambda tensors: (moved(tensors[0], moves),), unread)
    assert (array.shape, array.dtype, array.tensors) == (expected.shape, expected.dtype, ("x",))
    box = box_in(data, expected.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SCRATCH", scratch)
        patch.setattr(slices, "GAP", scratch % 7)
        assert slices.read_box(array, box).tobytes() == expected[slices.box_slices(box)].tobytes()


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(2, 4), shapes.array_shapes(max_dims=3), MOVES, st.booleans())
def test_tensors_side_by_side_are_joined_without_being_read(
    tmp_path_factory, data, count, shape, moves, stacked
):
    tensors = {f"x{index}": random(shape) + 100 * index for index in range(count)}
    _, extents = written(tmp_path_factory, ".safetensors", tensors)

    def convert(tensors):
        if stacked:
            parts = [moved(tensor, moves) for tensor in tensors]
            return (joining.stack(parts, len(moves) % (parts[0].ndim + 1)),)
        return (moved(joining.concatenate(tensors, 0), moves),)

    expected = convert(tuple(np.array(tensor) for tensor in tensors.values()))[0]
    (array,) = slices.in_files(extents, convert, unread)
    box = box_in(data, expected.shape)
    assert slices.read_box(array, box).tobytes() == expected[slices.box_slices(box)].tobytes()


def test_joining_is_numpys_where_nothing_lies_side_by_side():
    parts = [random((2, 3)) + index for index in range(3)]
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(joining.stack(parts, axis), np.stack(parts, axis))
        np.testing.assert_array_equal(joining.concatenate(parts, axis), np.concatenate(parts, axis))
    block = random((6, 4))
    for rows in ((block[:2], block[2:]), (block[2:], block[:2]), (block[:2], block[3:5])):
        np.testing.assert_array_equal(joining.concatenate(rows, 0), np.concatenate(rows, 0))
    same = [block[:2], block[:2]]
    np.testing.assert_array_equal(joining.concatenate(same, 0), np.concatenate(same, 0))
    np.testing.assert_array_equal(joining.stack(same, 0), np.stack(same, 0))


def test_a_slice_reads_its_bytes_and_no_others(tmp_path_factory, counted):
    tensor = random((64, 1024))
    _, extents = written(tmp_path_factory, ".safetensors", {"x": tensor})
    counted.clear()
    (array,) = slices.in_files(extents, lambda tensors: (tensors[0].T,), unread)
    for box, reads in {
        ((0, 1024), (8, 24)): [16 * 4096],  # rows of the file
        ((256, 512), (0, 64)): [1024] * 64,  # columns of it
        ((256, 512), (8, 9)): [1024],
        ((0, 0), (0, 64)): [],
    }.items():
        np.testing.assert_array_equal(slices.read_box(array, box), tensor.T[slices.box_slices(box)])
        assert counted == reads
        counted.clear()


def test_small_gaps_are_read_over(tmp_path_factory, counted):
    tensor = random((64, 64))
    _, extents = written(tmp_path_factory, ".safetensors", {"x": tensor})
    counted.clear()
    (array,) = slices.in_files(extents, lambda tensors: tensors, unread)
    slices.read_box(array, ((0, 64), (0, 8)))
    assert counted == [63 * 256 + 32]


def test_what_is_computed_is_read_whole_and_then_cut(tmp_path_factory):
    tensors = {"a": random(6), "b": random(6) + 1}
    checkpoint, extents = written(tmp_path_factory, ".safetensors", tensors)

    def convert(tensors):
        return (tensors[0] + tensors[1], tensors[1][::-1])

    both = slices.in_files(extents, convert, lambda: convert((checkpoint["a"], checkpoint["b"])))
    np.testing.assert_array_equal(slices.read_box(both[0], ((2, 5),)), (tensors["a"] + tensors["b"])[2:5])
    np.testing.assert_array_equal(slices.read_box(both[1], ((2, 5),)), tensors["b"][::-1][2:5])
    assert [type(each) for each in both] == [slices.Computed, slices.Moved]


class Cells(nn.Module):
    """A layer of each kind: moved, joined, summed and lifted."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(6, (3, 3), padding=1, name="conv")(x).mean((1, 2))
        x = nn.MultiHeadDotProductAttention(2, name="attention")(x[:, None])
        stacked = nn.scan(Block, variable_axes={"params": 1}, split_rngs={"params": True}, length=3)
        x, _ = stacked(6, name="blocks")(x[:, 0], None)
        carry = nn.LSTMCell(4, name="cell").initialize_carry(jax.random.key(0), x.shape)
        return nn.LSTMCell(4, name="lstm")(carry, x)[1]


class Block(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(self.width, name="dense")(nn.LayerNorm(name="norm")(x)), None


@pytest.mark.parametrize("source", ["checkpoint.safetensors", "checkpoint.pth", "in memory"])
def test_a_models_arrays_can_be_read_slice_by_slice(tmp_path, source):
    module, images = Cells(), jax.ShapeDtypeStruct((2, 5, 4, 3), "float32")
    variables = jax.tree.map(np.asarray, module.init(jax.random.key(0), np.zeros(images.shape)))
    tensors = converters.to_torch(variables, module, images)
    if source != "in memory":
        converters.write_checkpoint(tensors, tmp_path / source)
        tensors = tmp_path / source
    matched = converters.match(tensors, module, images)
    found = matched.in_files()
    expected = flatten_dict(matched.variables())
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        assert (found[path].shape, found[path].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(slices.read_box(found[path]), array)
        box = tuple((size // 3, size) for size in array.shape)
        np.testing.assert_array_equal(slices.read_box(found[path], box), array[slices.box_slices(box)])
    if source != "in memory":
        computed = {"/".join(path) for path, each in found.items() if isinstance(each, slices.Computed)}
        assert computed == {f"params/lstm/h{gate}/bias" for gate in "ifgo"}


def test_bytes_that_are_no_booleans_are_refused_in_a_slice(tmp_path_factory):
    _, extents = written(tmp_path_factory, ".safetensors", {"x": np.ones(9, "bool")})
    path = extents[0].file.path
    content = bytearray(path.read_bytes())
    content[-4] = 7
    path.write_bytes(content)
    extent = converters.read_checkpoint(path).extent("x")
    (array,) = slices.in_files([extent], lambda tensors: tensors, unread)
    with pytest.raises(converters.CheckpointError, match="'x' is boolean but has bytes other than 0 and 1"):
        slices.read_box(array)


@pytest.mark.parametrize("change", ["truncate", "write"])
def test_a_file_that_changes_before_its_slices_are_read_is_refused(tmp_path_factory, change):
    _, extents = written(tmp_path_factory, ".safetensors", {"x": random((8, 8))})
    (array,) = slices.in_files(extents, lambda tensors: tensors, unread)
    path = extents[0].file.path
    with open(path, "r+b") as file:
        if change == "truncate":
            file.truncate(path.stat().st_size - 100)
        else:
            file.write(b" ")
            file.truncate(path.stat().st_size + 1)
    problem = "became shorter while" if change == "truncate" else "changed while"
    with pytest.raises(converters.CheckpointError, match=rf"x\.safetensors'.* {problem} it was read"):
        slices.read_box(array)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_tensors_are_compared_in_pieces(tmp_path_factory, monkeypatch, suffix):
    tensor = random((40, 30))
    other = tensor.copy()
    other[39, 29] += 1
    checkpoint, _ = written(
        tmp_path_factory, suffix, {"a": tensor, "b": tensor.copy(), "c": other, "d": tensor[:1]}
    )
    monkeypatch.setattr(slices, "SCRATCH", 700)
    assert [checkpoint.are_equal("a", name) for name in "abcd"] == [True, True, False, False]
