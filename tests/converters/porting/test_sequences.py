"""Functions and layers of texts and sequences, each as a JAX expression of the same numbers."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from converters.porting.port import write
from tests.equivalence import difference, randomise, state_dict

# x, y: (batch, length, 4); i: (batch, length) indices below 3; m: (batch, length) truth values.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "comparisons": lambda x, y, i, m: [(x < y) & (x >= 0), (x == y) | (x != 0), ~(x <= 0) ^ (y > 0)],
    "where": lambda x, y, i, m: torch.where(x > 0, x, y) + torch.where(m[..., None], x, 0.5),
    "masked_fill": lambda x, y, i, m: x.masked_fill(m.unsqueeze(-1), -1e4),
    "infinity": lambda x, y, i, m: x.masked_fill(~m[..., None], float("-inf")).softmax(1).nan_to_num(),
    "clamp": lambda x, y, i, m: x.clamp(min=0.1) + x.clamp(-0.2, 0.3) + x.clamp_max(0.1),
    "extremes": lambda x, y, i, m: torch.maximum(x, y) - torch.minimum(x, y) + x.max() + y.min(),
    "max of an axis": lambda x, y, i, m: [*x.max(dim=1), *y.min(-1, keepdim=True)],
    "argmax": lambda x, y, i, m: [x.argmax(dim=1), x.argmax(-1, keepdim=True)],
    "casts": lambda x, y, i, m: i.float() * x[..., 0] + m.to(x.dtype) + x.mean(-1).long(),
    "gather": lambda x, y, i, m: torch.gather(x, 2, i[..., None]) + x.gather(-1, i[:, :1, None]),
    "scatter": lambda x, y, i, m: torch.zeros_like(x).scatter(2, i[..., None], 1.5),
    "scatter_add": lambda x, y, i, m: x.scatter_add(2, torch.cat([i[..., None]] * 2, -1), y[..., :2]),
    "scatter_reduce": lambda x, y, i, m: [
        x.scatter_reduce(2, torch.cat([i[..., None]] * 2, -1), y[..., :2], reduce=each, include_self=own)
        for each in ("sum", "mean", "prod", "amax", "amin")
        for own in (True, False)
    ],
    "index": lambda x, y, i, m: (
        x[:, i[0], 1] + x[torch.arange(x.shape[0])[:, None], i][..., 0].sum(1, keepdim=True)
    ),
    "ends that are tensors of sizes": lambda x, y, i, m: (
        x[:, torch.tensor(x.shape[1]) - 3 :] + y[:, 1 : 5 - torch.tensor(1)]
    ),
    "index_select": lambda x, y, i, m: x.index_select(2, i[0, :2]),
    "topk": lambda x, y, i, m: [*x.topk(2, dim=-1)],
    "sort": lambda x, y, i, m: [*x.sort(dim=1, descending=True), y.argsort(-1)],
    "cumsum": lambda x, y, i, m: x.cumsum(1) + m.cumsum(1)[..., None] + x.cumprod(-1),
    "bucketize": lambda x, y, i, m: torch.bucketize(x, torch.tensor([-0.5, 0.0, 0.5]), right=True),
    "one_hot": lambda x, y, i, m: F.one_hot(i, 3).transpose(1, 2).to(x) @ x,
    "triangles": lambda x, y, i, m: (x @ y.transpose(1, 2)).tril(-1) + torch.ones(4, 4).triu().sum(),
    "arange": lambda x, y, i, m: torch.arange(x.shape[1]) - torch.arange(2, 2 + 3 * x.shape[1], 3),
    "einsum": lambda x, y, i, m: torch.einsum("b l d, b m d -> b l m", x, y.flip(1)),
    "einsum, implied": lambda x, y, i, m: torch.einsum("bld,bmd", x.transpose(0, 1).transpose(0, 1), y),
    "baddbmm": lambda x, y, i, m: torch.baddbmm(x, x @ x.mT, y, beta=0.5, alpha=2),
    "repeat": lambda x, y, i, m: x.repeat(1, 2, 1) + x.repeat_interleave(2, dim=1),
    "norms": lambda x, y, i, m: F.normalize(x, dim=1) + x.norm(dim=-1, keepdim=True) + x.norm(),
    "variance": lambda x, y, i, m: x.var(1) + y.std(dim=1, unbiased=False) + torch.var_mean(x, 1)[0],
    "logsumexp": lambda x, y, i, m: x.logsumexp(1) + y.prod(1) + y.amax(1),
    "any": lambda x, y, i, m: [m.any(1), m.all(dim=0)],
    "complex": lambda x, y, i, m: torch.view_as_real(
        torch.view_as_complex(x.reshape(*x.shape[:2], 2, 2)) * torch.polar(y[..., :2].abs(), y[..., 2:])
    ),
    "moves": lambda x, y, i, m: x.movedim(1, 0).swapdims(0, 1) + x.mT.mT.expand_as(y).view_as(y),
    "diff": lambda x, y, i, m: x.diff(dim=1) + x.narrow(1, 1, x.shape[1] - 1).select(2, 0)[..., None],
    "rounded division": lambda x, y, i, m: (i * 5) // 2 + torch.div(i - 2, 2, rounding_mode="floor") + i % 2,
    "mathematics": lambda x, y, i, m: x.sin() + y.erf() + F.softplus(x) + F.elu(y) + x.abs().log1p() - -y,
    "attention": lambda x, y, i, m: F.scaled_dot_product_attention(x, y, y, scale=0.3),
    "attention, causal": lambda x, y, i, m: F.scaled_dot_product_attention(
        *(z.unflatten(-1, (2, 2)).transpose(1, 2) for z in (x, y, x)), is_causal=True
    ),
    "attention, mask": lambda x, y, i, m: F.scaled_dot_product_attention(
        *(z[:, None].expand(-1, n, -1, -1) for z, n in ((x, 4), (y, 2), (x, 2))),
        attn_mask=m[:, None, None],
        enable_gqa=True,
    ),
    "attention, bias": lambda x, y, i, m: F.scaled_dot_product_attention(x, y, x, attn_mask=x @ y.mT),
}


class Functions(nn.Module):
    """Calls functions one after the other."""

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Any, y: Any, i: Any, m: Any) -> Any:
        return [function(x, y, i, m) for function in self.functions]


def _inputs(batch: int, length: int) -> list[Any]:
    rng = np.random.default_rng(length)
    x, y = (torch.from_numpy(rng.normal(size=(batch, length, 4))) for _ in range(2))
    return [
        x,
        y,
        torch.from_numpy(rng.integers(0, 3, size=(batch, length))),
        torch.arange(batch * length).reshape(batch, length) % 3 < 2,
    ]


def check(module: nn.Module, *runs: Sequence[Any]) -> str:
    """Checks that the source gives the same numbers at two sizes; returns it."""
    module.eval()
    names = [*inspect.signature(module.forward).parameters]
    single = [
        {n: x.float() if x.is_floating_point() else x for n, x in zip(names, run, strict=True)}
        for run in runs
    ]
    made = write(module, *single)
    found: dict[str, Any] = {}
    exec(compile(made.source.replace("float32", "float64"), "net.py", "exec"), found)
    randomise(module)
    flax = found[made.root]()
    with jax.enable_x64(True):
        variables = None
        for run in runs:
            arrays = made.arrays({n: x.numpy() for n, x in zip(names, run, strict=True)})
            variables = variables or converters.convert(state_dict(module), flax, *arrays)
            with torch.no_grad():
                expected = made.results(module(*run))
            run_compiled = jax.jit(flax.apply, compiler_options={"xla_backend_optimization_level": 0})
            for one, two in zip(jax.tree.leaves(run_compiled(variables, *arrays)), expected, strict=True):
                assert difference(np.asarray(one, float), two.double().numpy()) <= 1e-13, made.source
    return made.source


@pytest.mark.parametrize("first", [True, False])
def test_functions_give_the_same_numbers(first):
    half = len(FUNCTIONS) // 2
    chosen = dict([*FUNCTIONS.items()][:half] if first else [*FUNCTIONS.items()][half:])
    check(Functions([*chosen.values()]), _inputs(2, 5), _inputs(3, 6))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: nn.LSTM(4, 3, batch_first=True),
    "LSTM_stack": lambda: nn.LSTM(4, 3, 2, bidirectional=True, bias=False),
    "GRU": lambda: nn.GRU(4, 3, batch_first=True, bidirectional=True),
    "RNN": lambda: nn.RNN(4, 3, 2, nonlinearity="relu"),
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 7, batch_first=True), 2),
}


class Layers(nn.Module):
    """Calls each layer, and gives all that they return."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)

    def forward(self, x):
        return [layer(x) for layer in self.layers.values()]


class Tagger(nn.Module):
    """Uses the outputs of an LSTM, and goes on from the state that another one ends in."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.decoder = nn.LSTM(4, 3, batch_first=True)
        self.cell = nn.LSTMCell(3, 3)
        self.gru = nn.GRUCell(3, 3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x, i, m):
        words = self.embed(i)
        outputs, _ = self.lstm(words)
        _, state = self.decoder(x)
        h, c = self.cell(outputs[:, 0], (state[0][0], state[1][0]))
        words, _ = self.attention(words, x, x, key_padding_mask=m, need_weights=False)
        return outputs, self.gru(h), c, words


@pytest.mark.filterwarnings("ignore:the axes of")  # of square weights, under torch's own names
def test_layers_give_the_same_numbers():
    check(Layers({name: make() for name, make in LAYERS.items()}), _inputs(2, 5)[:1], _inputs(3, 6)[:1])


@pytest.mark.filterwarnings("ignore:the axes of")
def test_a_tagger_gives_the_same_numbers():
    runs = [[x, i, m] for x, _, i, m in (_inputs(2, 5), _inputs(3, 6))]
    text = check(Tagger(), *runs)
    assert "nn.OptimizedLSTMCell(3, param_dtype=words.dtype, dtype=self.dtype), name=" in text


class Wide(nn.Module):
    """Computes a softmax, and squares, in float32, as the models of texts do."""

    def __init__(self):
        super().__init__()
        self.fc, self.weight = nn.Linear(6, 6), nn.Parameter(torch.ones(6))

    def forward(self, x):
        h = self.fc(x)
        y = (h @ h.mT).float().softmax(-1).type_as(h) @ h
        y = F.softmax(y @ y.mT, dim=-1, dtype=torch.float32).to(h.dtype) @ h
        kind = y.dtype
        z = y.to(torch.float32)
        z = z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * z.to(kind)


@pytest.mark.filterwarnings("error")
def test_what_torch_computes_in_float32_is_in_float32_whatever_the_module_computes_in():
    made = converters.port(Wide(), torch.randn(2, 3, 6), others=[torch.randn(3, 4, 6)])
    assert made.proof.output < 1e-14
    net = {"__name__": "net"}
    exec(made.source, net)
    half, x = net["create"](dtype="bfloat16"), jnp.ones((2, 3, 6), "bfloat16")
    traced = jax.make_jaxpr(lambda x: half.apply(made.variables, x))(x)
    assert traced.out_avals[0].dtype == "bfloat16"
    kinds: dict[str, set[str]] = {}
    for each in traced.eqns:
        inner = each.params["jaxpr"].eqns if "jaxpr" in each.params else [each]
        for equation in inner:
            kinds.setdefault(equation.primitive.name, set()).add(str(equation.outvars[0].aval.dtype))
    assert kinds["exp"] == kinds["rsqrt"] == {"float32"}
    assert kinds["dot_general"] == {"bfloat16"}
