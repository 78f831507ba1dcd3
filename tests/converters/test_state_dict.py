from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import converters
from converters import ConversionError, convert, match, to_torch
from tests.converters.models import Compact, Names, Nested, Scanned, Shared, Tied, X, random_variables


def equal(a: Any, b: Any) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


MODULES = [Names(), Scanned(), Scanned(1, 1), Nested(), Compact(), Shared()]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: repr(type(module).__name__))
def test_variables_come_back_bit_for_bit(module: nn.Module) -> None:
    variables = random_variables(module, X)
    state_dict = to_torch(variables, module, X)
    assert equal(convert(state_dict, module, X), variables)
    assert all(tensor.flags.c_contiguous for tensor in state_dict.values())


def test_scanned_blocks_are_numbered_tensors() -> None:
    variables = random_variables(Scanned(1), X)
    state_dict = to_torch(variables, Scanned(1), X)
    np.testing.assert_array_equal(
        state_dict["blocks.4.Dense_0.weight"], variables["params"]["blocks"]["Dense_0"]["kernel"][:, 4].T
    )
    assert len(state_dict) == 6 * 6


def test_a_vmapped_scan_is_numbered_outermost_first() -> None:
    variables = random_variables(Nested(), X)
    kernel = variables["params"]["ensemble"]["Dense_0"]["kernel"]
    tensor = to_torch(variables, Nested(), X)["ensemble.2.5.Dense_0.weight"]
    np.testing.assert_array_equal(tensor, kernel[:, 2][:, :, 5].T)


class TestReadings:
    """Names of compact modules are read as the checkpoint writes them."""

    @staticmethod
    def renamed(style: str) -> tuple[Any, dict[str, np.ndarray]]:
        variables = random_variables(Compact(), X)
        state_dict = to_torch(variables, Compact(), X)
        return variables, {name.replace("layers_", style): tensor for name, tensor in state_dict.items()}

    @pytest.mark.parametrize("style", ["layers.", "layers_", "layers"])
    def test_any_style_of_numbering_fits_without_a_rule(self, style: str) -> None:
        variables, state_dict = self.renamed(style)
        assert equal(convert(state_dict, Compact(), X), variables)
        assert list(to_torch(variables, Compact(), X, like=state_dict)) == list(state_dict)

    def test_two_readings_that_both_exist_are_refused(self) -> None:
        _, dotted = self.renamed("layers.")
        _, plain = self.renamed("layers_")
        with pytest.raises(ConversionError, match=r"several ways that all exist: layers\.0\.\w+, layers_0"):
            convert({**dotted, **plain}, Compact(), X)

    def test_an_attribute_of_its_own_keeps_its_name(self) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        other = {name.replace("ln_1", "ln.1"): tensor for name, tensor in state_dict.items()}
        with pytest.raises(ConversionError, match=r"missing    ln_1\.weight"):
            convert(other, Names(), X)


class TestPrefixes:
    @pytest.mark.parametrize(
        "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.encoder.model."]
    )
    def test_a_prefix_that_all_names_share_is_taken_off_and_put_back(self, prefix: str) -> None:
        variables = random_variables(Names(), X)
        state_dict = {prefix + name: t for name, t in to_torch(variables, Names(), X).items()}
        conversion = match(state_dict, Names(), X)
        assert equal(conversion.variables(), variables)
        assert f"took the prefix {prefix!r} off every name" in conversion.notes
        assert list(to_torch(variables, Names(), X, like=state_dict)) == list(state_dict)

    def test_a_prefix_that_only_some_names_have_stays(self) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        mixed = {("module." if "ln" in name else "") + name: tensor for name, tensor in state_dict.items()}
        with pytest.raises(ConversionError, match=r"left over  module\.ln_1\.weight"):
            convert(mixed, Names(), X)

    def test_a_prefix_that_the_module_has_too_stays(self) -> None:
        class Wrapped(nn.Module):
            def setup(self) -> None:
                self.model = nn.Dense(3)

            def __call__(self, x: jax.Array) -> jax.Array:
                return self.model(x)

        variables = random_variables(Wrapped(), X)
        state_dict = to_torch(variables, Wrapped(), X)
        assert list(state_dict) == ["model.weight", "model.bias"]
        assert match(state_dict, Wrapped(), X).notes == ()


class TestProblems:
    def test_all_of_them_are_in_one_error(self) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        del state_dict["ln_1.bias"]
        state_dict["layer1.0.weight"] = np.zeros((6, 5), np.float32)
        state_dict["layer1.1.bias"] = np.zeros(6, np.int64)
        state_dict["head.bias"] = np.zeros(3, np.float32)
        with pytest.raises(ConversionError) as error:
            convert(state_dict, Names(), X)
        message = str(error.value)
        assert message.startswith("the state dict does not fit Names:\n")
        for line in (
            "  missing    ln_1.bias, for params/ln_1/bias",
            "  misshapen  layer1.0.weight: (6, 5) for (6, 6)",
            "  wrong kind layer1.1.bias: int64 for float32",
            "  left over  head.bias",
        ):
            assert line in message.splitlines()

    def test_what_is_only_left_over_may_be_ignored_as_the_error_says(self) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        state_dict = {f"module.{name}": t for name, t in state_dict.items()} | {"module.mask.0": X}
        pattern = r"mask\.0"
        with pytest.raises(ConversionError) as error:
            convert(state_dict, Names(), X)
        assert str(error.value).endswith(f"pass ignore=(r'{pattern}', ...)")
        assert convert(state_dict, Names(), X, ignore=(pattern,))

    @pytest.mark.parametrize("shape", [(36,), (1, 6, 6), (6, 6, 1), (12, 3)])
    def test_shapes_of_equal_size_are_not_reshaped(self, shape: tuple[int, ...]) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        state_dict["layer1.0.weight"] = state_dict["layer1.0.weight"].reshape(shape)
        with pytest.raises(ConversionError, match=r"misshapen  layer1\.0\.weight"):
            convert(state_dict, Names(), X)

    def test_two_arrays_may_not_ask_for_one_tensor(self) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        with pytest.raises(ConversionError, match=r"duplicated layers_0\.bias: asked for 2 times"):
            convert(state_dict, Compact(), X, names=[("layers_1", "layers_0")])

    def test_near_names_are_suggested(self) -> None:
        state_dict = to_torch(random_variables(Names(), X), Names(), X)
        state_dict["ln_1.weights"] = state_dict.pop("ln_1.weight")
        with pytest.raises(ConversionError, match=r"'ln_1\.weight' is perhaps 'ln_1\.weights'"):
            convert(state_dict, Names(), X)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_counted_and_refused(self, value: float) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        state_dict["layers_0.weight"][0, :2] = value
        state_dict["layers_1.bias"][0] = value
        with pytest.raises(ConversionError, match=r"layers_0\.weight: 2 values\n  layers_1\.bias: 1 values"):
            convert(state_dict, Compact(), X)
        variables = convert(state_dict, Compact(), X, allow_nonfinite=True)
        back = to_torch(variables, Compact(), X)
        assert back["layers_0.weight"].tobytes() == state_dict["layers_0.weight"].tobytes()

    def test_large_finite_values_are_finite(self) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        state_dict["layers_0.weight"][:] = np.finfo(np.float32).max
        convert(state_dict, Compact(), X)

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            (3, "not a int"),
            ({1: np.zeros(3)}, "names of a state dict are strings; found 1"),
            ({"state_dict": {"weight": np.zeros(3)}}, "'state_dict' is a dict: pass the inner mapping"),
            ({"epoch": 3}, "'epoch' is a int"),
        ],
    )
    def test_what_is_no_state_dict_is_refused(self, source: Any, words: str) -> None:
        with pytest.raises(ConversionError, match=words):
            convert(source, nn.Dense(3), X)

    def test_a_bad_regular_expression_is_named(self) -> None:
        with pytest.raises(ConversionError, match=r"'\(' is no regular expression"):
            convert({}, nn.Dense(3), X, names=[("(", "")])


class TestOwnLayers:
    """Layers that the table does not know."""

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            token = self.param("cls_token", nn.initializers.normal(), (1, 6))
            return nn.Dense(3, name="head")(x + token)

    def test_plain_params_keep_name_and_axes(self) -> None:
        variables = random_variables(self.Plain(), X)
        state_dict = to_torch(variables, self.Plain(), X)
        assert state_dict["cls_token"].shape == (1, 6)
        assert equal(convert(state_dict, self.Plain(), X), variables)

    @pytest.mark.parametrize("name", ["kernel", "embedding"])
    def test_params_whose_axes_nobody_knows_are_refused(self, name: str) -> None:
        class Own(nn.Module):
            @nn.compact
            def __call__(self, x: jax.Array) -> jax.Array:
                return x @ self.param(name, nn.initializers.normal(), (6, 6))

        with pytest.raises(ConversionError, match=r"nobody knows the order of the axes.*`torch_row`"):
            to_torch(random_variables(Own(), X), Own(), X)

    def test_state_that_the_file_lacks_is_missing(self) -> None:
        class Own(nn.Module):
            @nn.compact
            def __call__(self, x: jax.Array) -> jax.Array:
                self.variable("cache", "index", lambda: jnp.zeros(()))
                return x

        with pytest.raises(ConversionError, match="missing    index, for cache/index"):
            convert({}, Own(), X)

    def test_a_layer_of_flax_without_a_row_is_named(self) -> None:
        with pytest.raises(ConversionError, match="no row for flax's Einsum"):
            convert({}, nn.Einsum((6, 3), "...i,ij->...j"), X)

    def test_a_subclass_inherits_its_parents_row(self) -> None:
        class Mine(nn.Dense):
            pass

        assert to_torch(random_variables(Mine(3), X), Mine(3), X)["weight"].shape == (3, 6)

    def test_a_row_as_an_attribute_wins(self) -> None:
        from converters.layers import Leaf

        class Untransposed(nn.Dense):
            torch_row: ClassVar = {"kernel": Leaf("weight"), "bias": Leaf("bias")}

        variables = random_variables(Untransposed(3), X)
        state_dict = to_torch(variables, Untransposed(3), X)
        assert state_dict["weight"].shape == (6, 3)
        assert equal(convert(state_dict, Untransposed(3), X), variables)


class TestDtypes:
    @pytest.mark.parametrize(
        "dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
    )
    def test_the_tensors_dtype_is_kept(self, dtype: Any) -> None:
        state_dict = {
            n: t.astype(dtype) for n, t in to_torch(random_variables(Compact(), X), Compact(), X).items()
        }
        variables = convert(state_dict, Compact(), X)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(dtype)}

    @pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, np.float16, "float64"])
    def test_another_is_made_on_request(self, dtype: Any) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        variables = convert(state_dict, Compact(), X, dtype=dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(dtype)}

    def test_a_cast_that_overflows_is_refused(self) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        state_dict["layers_0.bias"][1] = 1e6
        with pytest.raises(ConversionError, match="1 values of params/layers_0/bias do not fit float16"):
            convert(state_dict, Compact(), X, dtype=np.float16)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e5m2])
    def test_torch_tensors_are_taken_as_they_are(self, dtype: torch.dtype) -> None:
        module = torch.nn.Linear(6, 3).to(dtype)
        variables = convert(module.state_dict(), nn.Dense(3), X)
        kernel = variables["params"]["kernel"]
        expected = module.weight.detach().T.contiguous().view(torch.uint8).numpy()
        assert kernel.tobytes() == expected.tobytes()

    def test_results_share_no_memory_with_the_source(self) -> None:
        state_dict = to_torch(random_variables(Compact(), X), Compact(), X)
        variables = convert(state_dict, Compact(), X)
        back = to_torch(variables, Compact(), X)
        kept = to_torch(variables, Compact(), X, like=state_dict)
        for name, tensor in state_dict.items():
            for leaf in (*jax.tree.leaves(variables), back[name], kept[name]):
                assert not np.shares_memory(tensor, leaf)
        assert all(array.flags.writeable for array in (*jax.tree.leaves(variables), *kept.values()))


class TestLike:
    """Tensors that Flax has no place for come back from the original."""

    def test_counters_and_ignored_buffers_and_the_order_are_restored(self) -> None:
        module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
        module.register_buffer("mask", torch.tril(torch.ones(3, 3)))
        module[1].num_batches_tracked.fill_(17)

        class Model(nn.Module):
            def setup(self) -> None:
                self.layers = [nn.Dense(4), nn.BatchNorm(use_running_average=True)]

            def __call__(self, x: jax.Array) -> jax.Array:
                return self.layers[1](self.layers[0](x))

        options = {"names": [("^layers.", "")], "ignore": ["mask"]}
        variables = convert(module.state_dict(), Model(), X, **options)
        back = to_torch(variables, Model(), X, like=module.state_dict(), **options)
        assert list(back) == list(module.state_dict())
        fresh = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
        fresh.register_buffer("mask", torch.zeros(3, 3))
        fresh.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in back.items()}, strict=True)
        for name, tensor in module.state_dict().items():
            assert torch.equal(fresh.state_dict()[name], tensor), name

    def test_a_tied_duplicate_follows_its_twin(self) -> None:
        ids = np.zeros((2, 3), int)
        state_dict = to_torch(random_variables(Tied(), ids), Tied(), ids)
        state_dict["head.weight"] = state_dict["embed.weight"].copy()
        variables = convert(state_dict, Tied(), ids, ignore=[r"head\.weight"])
        variables["params"]["embed"]["embedding"] += 1
        back = to_torch(variables, Tied(), ids, like=state_dict, ignore=[r"head\.weight"])
        np.testing.assert_array_equal(back["head.weight"], back["embed.weight"])
        np.testing.assert_array_equal(back["embed.weight"], state_dict["embed.weight"] + 1)

    def test_two_biases_come_back_as_they_were_unless_their_sum_changed(self) -> None:
        lstm = torch.nn.LSTM(6, 4, batch_first=True)
        module, x = nn.RNN(nn.LSTMCell(4)), np.zeros((2, 3, 6), np.float32)
        conversion = match(lstm.state_dict(), module, x)
        assert any("two biases" in note for note in conversion.notes)
        variables = conversion.variables()
        back = to_torch(variables, module, x, like=lstm.state_dict())
        for name, tensor in lstm.state_dict().items():
            assert torch.equal(torch.from_numpy(back[name]), tensor)
        variables["params"]["cell"]["hi"]["bias"] += 1
        back = to_torch(variables, module, x, like=lstm.state_dict())
        np.testing.assert_array_equal(back["bias_hh_l0"], 0)


def test_variables_that_are_not_the_modules_are_refused() -> None:
    variables = random_variables(Compact(), X)
    variables["params"]["extra"] = np.zeros(3)
    variables["params"]["layers_0"]["bias"] = np.zeros(4)
    del variables["params"]["layers_1"]["bias"]
    with pytest.raises(ConversionError) as error:
        to_torch(variables, Compact(), X)
    assert str(error.value).splitlines()[1:] == [
        "  missing    params/layers_1/bias",
        "  left over  params/extra",
        "  misshapen  params/layers_0/bias: (4,) for (5,)",
    ]


def test_public_names_are_these() -> None:
    assert converters.__all__ == sorted(converters.__all__, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(converters, name) for name in converters.__all__)
