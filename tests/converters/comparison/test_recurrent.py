"""Recurrent layers, trained: PyTorch adds two biases where Flax has their sum, and returns states last."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from converters import compare, convert
from tests.converters.comparison.test_compare import T, compared

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
CELLS: dict[str, tuple[Any, Any, Any]] = {
    "LSTM": (nn.OptimizedLSTMCell, T.LSTM, T.LSTMCell),
    "GRU": (nn.GRUCell, T.GRU, T.GRUCell),
    "RNN": (nn.SimpleCell, T.RNN, T.RNNCell),
}


def trained(module: T.Module) -> T.Module:
    """Float32 weights that use all their bits, as fresh ones do not."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        T.init.normal_(parameter, generator=generator)
    return module


class Sequence(nn.Module):
    cell: Any
    both: bool = False
    carry: bool = False
    reverse: bool = False

    def setup(self) -> None:
        def layer() -> nn.RNN:
            return nn.RNN(self.cell(5), return_carry=self.carry, reverse=self.reverse, keep_order=True)

        both = nn.Bidirectional(layer(), layer(), return_carry=self.carry) if self.both else None
        self.rnn = both or layer()
        self.head = nn.Dense(3)

    def __call__(self, x: jax.Array) -> Any:
        found = self.rnn(x)
        return found if self.carry else self.head(found)


class SequenceTwin(T.Module):
    def __init__(self, kind: Any, module: Sequence) -> None:
        super().__init__()
        self.options = module
        self.rnn = kind(4, 5, batch_first=True, bidirectional=module.both)
        if not module.carry:
            self.head = T.Linear(10 if module.both else 5, 3)

    def forward(self, x: torch.Tensor) -> Any:
        if self.options.carry:
            return self.rnn(x)
        if self.options.reverse:
            return self.head(self.rnn(x.flip(1))[0].flip(1))
        return self.head(self.rnn(x)[0])


@pytest.mark.parametrize("options", [{}, {"carry": True}, {"both": True, "carry": True}], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_trained_recurrent_layers_agree(name: str, options: dict[str, bool]) -> None:
    cell, kind, _ = CELLS[name]
    module = Sequence(cell, **options)
    comparison = compared(trained(SequenceTwin(kind, module)), module, X)
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == (["rnn"] if module.carry else ["rnn", "head"])
    assert comparison.output.output.relative <= 1e-12
    assert comparison.notes == ()


def test_a_sequence_that_is_read_backwards_agrees() -> None:
    module = Sequence(nn.OptimizedLSTMCell, reverse=True)
    comparison = compared(trained(SequenceTwin(T.LSTM, module)), module, X)
    assert comparison.ok, str(comparison)
    assert [row.agrees_again for row in comparison.rows] == ["head", ""]
    wrong = compared(trained(SequenceTwin(T.LSTM, Sequence(nn.OptimizedLSTMCell))), module, X)
    assert wrong.first_divergence.layer == "rnn"


def test_a_stack_that_is_one_module_in_pytorch_is_compared_as_one() -> None:
    class Stack(nn.Module):
        def setup(self) -> None:
            self.rnn = [nn.RNN(nn.OptimizedLSTMCell(5)) for _ in range(2)]

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.rnn:
                x = layer(x)
            return x

    class StackTwin(T.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = T.LSTM(4, 5, num_layers=2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0]

    names = [(rf"^rnn\.{index}\.(\w+)_l0$", rf"rnn.\1_l{index}") for index in range(2)]
    comparison = compared(trained(StackTwin()), Stack(), X, names=names)
    assert comparison.ok, str(comparison)
    assert [(row.layer, row.torch_name) for row in comparison.rows] == [("rnn_1", "rnn")]
    assert comparison.rows[0].inputs.relative == 0
    assert comparison.notes == ()


class Steps(nn.Module):
    cell: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        cell = self.cell(5, name="cell")
        carry = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)
        for step in range(2):
            carry, _ = cell(carry, x[:, step])
        return carry


class StepsTwin(T.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.cell = kind(4, 5)

    def forward(self, x: torch.Tensor) -> Any:
        return self.cell(x[:, 1], self.cell(x[:, 0]))


@pytest.mark.parametrize("name", CELLS)
def test_cells_agree_step_by_step(name: str) -> None:
    comparison = compared(trained(StepsTwin(CELLS[name][2])), Steps(CELLS[name][0]), X)
    assert comparison.ok, str(comparison)
    assert [row.layer for row in comparison.rows] == ["cell", "cell"]
    assert all(row.inputs.relative <= 1e-12 for row in comparison.rows)


def test_biases_summed_in_float32_are_right_and_others_wrong() -> None:
    module = Sequence(nn.OptimizedLSTMCell)
    twin = trained(SequenceTwin(T.LSTM, module))
    made = convert(twin.state_dict(), module, X)
    wide = convert(twin.state_dict(), module, X, dtype=np.float64)
    assert compare(twin, module, wide, X).ok
    ours = wide["params"]["rnn"]["cell"]["hi"]["bias"]
    theirs = [getattr(twin.rnn, f"bias_{which}_l0")[:5].detach().numpy() for which in ("ih", "hh")]
    assert (ours == np.add(*theirs, dtype=np.float64)).all()
    made["params"]["rnn"]["cell"]["hi"]["bias"] = made["params"]["rnn"]["cell"]["hi"]["bias"] + 1e-6
    other = compare(twin, module, made, X)
    assert other.first_divergence.layer == "rnn"
    assert [(each.layer, each.setting) for each in other.findings] == [("rnn/cell/hi", "bias")]


def test_a_loop_that_starts_in_float32_is_told_what_to_do() -> None:
    class Scanned(nn.Module):
        dtype: Any

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            options: dict[str, Any] = {"in_axes": 1, "out_axes": 1, "split_rngs": {"params": False}}
            scan = nn.scan(nn.GRUCell, variable_broadcast="params", **options)
            cell = scan(5, param_dtype=self.dtype, name="cell")
            return cell(cell.initialize_carry(jax.random.key(0), x[:, 0].shape), x)[1][:, -1]

    class ScannedTwin(StepsTwin):
        def forward(self, x: torch.Tensor) -> Any:
            state = None
            for step in range(x.shape[1]):
                state = self.cell(x[:, step], state)
            return state

    twin = trained(ScannedTwin(T.GRUCell))
    made = convert(twin.state_dict(), Scanned(jnp.float32), X)
    with pytest.raises(TypeError, match="carry") as raised:
        compare(twin, Scanned(jnp.float32), made, X)
    assert "param_dtype=jnp.float64" in raised.value.__notes__[-1]
