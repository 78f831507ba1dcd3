"""Training: what only it does, layers that keep their mode, statistics, and what the source leaves out."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from tests.converters.porting.trained import DropPath, drop_path, ported


class Block(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.norm, self.fc = rate, nn.BatchNorm1d(6), nn.Linear(6, 6)

    def forward(self, x):
        return x + drop_path(self.fc(F.hardsigmoid(self.norm(x))), self.rate, self.training)


class Modes(nn.Module):
    """Does other things in training in all ways: heads, layers, numbers, noise, what it returns."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(rate) for rate in (0, 0.1, 0.2)])
        self.one, self.two, self.more = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.aux, self.fc = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        mean, std = self.one(x).chunk(2, 1)
        if self.training:
            noise = torch.randn_like(std)
            z = mean + noise * std.exp()
        else:
            z = mean
        h = torch.cat([z, mean], 1)
        h = self.two(h) if self.training else self.more(h)
        if self.training:
            aux = self.aux(h)
        h = F.leaky_relu(h, 0.3 if self.training else 0.1)
        if self.training:
            h = h + F.dropout(h * 2, 0.5)
        y = self.fc(h)
        return (y, aux) if self.training else y.softmax(-1)


class Leaves(nn.Module):
    """Makes in training what another module reads, which would have no value in eval mode."""

    def __init__(self):
        super().__init__()
        self.inner, self.fc = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return (self.inner(x), self.fc(x)) if self.training else self.inner(x)


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Leaves()

    def forward(self, x):
        x = self.net(x)
        return x[0] + x[1] if self.training else x


def test_what_only_training_does_is_under_a_condition():
    made = converters.port(Modes(), torch.randn(4, 6))
    assert made.notes == ()
    assert made.proof.gradients < 1e-12
    body = made.source[made.source.index("class Modes") :].replace("dtype=self.dtype, ", "")
    for each in (
        """
        if train:
            noise = jax.random.normal(self.make_rng("noise"), std.shape, std.dtype)
            z = mean + noise * jnp.exp(std)
        else:
            z = mean
""",
        """
        if train or self.is_initializing():
            h2 = nn.Dense(6, name="two")(h)
            aux = nn.Dense(3, name="aux")(h2)
""",
        """
        if not train or self.is_initializing():
            h2 = nn.leaky_relu(nn.Dense(6, name="more")(h), 0.1)
""",
        """
        if train:
            return (y, aux)
        return nn.softmax(y)
""",
    ):
        assert each in body, body


class Codebook(nn.Module):
    """A codebook that follows the mean of what it stands for, in the four ways that buffers are changed."""

    def __init__(self, decay=0.9):
        super().__init__()
        self.decay = decay
        for name, start in (
            ("codes", torch.randn(5, 6)),
            ("sums", torch.randn(5, 6)),
            ("sizes", torch.ones(5)),
        ):
            self.register_buffer(name, start)
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x):
        index = (x @ self.codes.t()).argmax(1)
        if self.training:
            chosen = F.one_hot(index, 5).to(x.dtype)
            self.steps += 1
            self.sizes.data.mul_(self.decay).add_(chosen.sum(0), alpha=1 - self.decay)
            self.sums.copy_(self.decay * self.sums + (1 - self.decay) * chosen.t() @ x.detach())
            self.codes = self.sums / self.sizes[:, None]
        found = F.embedding(index, self.codes)
        return x + (found - x).detach()


class FrozenNorm(nn.BatchNorm1d):
    """Calls the function with its own arrays, as timm's do."""

    def forward(self, x):
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=self.training
        )


class KeepsModes(nn.Module):
    """Frozen batch norms and a dropout that draws in eval mode, too, whatever the mode of the module is."""

    def __init__(self):
        super().__init__()
        self.bn, self.own, self.trained = nn.BatchNorm1d(6), FrozenNorm(6), nn.BatchNorm1d(6)
        self.drop, self.always, self.path = nn.Dropout(0.5), nn.Dropout(0.5), DropPath(0.5)

    def train(self, mode=True):
        super().train(mode)
        for each in (self.bn, self.own, self.drop, self.path):
            each.eval()
        self.always.train()
        return self

    def forward(self, x):
        x = self.path(self.drop(self.own(self.bn(x)))) + self.trained(x)
        return x, self.always(torch.ones_like(x))


@pytest.mark.parametrize("target", ["linen", "nnx"])
def test_layers_that_keep_their_mode_while_the_module_trains_keep_it(target):
    made = converters.port(KeepsModes(), torch.randn(4, 6), others=[torch.randn(5, 6)], target=target)
    assert made.notes == ()
    assert made.proof.statistics < 1e-12
    assert made.source.count("use_running_average=True)") == 2
    assert made.source.count("nn.Dropout(0.5") + made.source.count("nnx.Dropout(0.5") == 1
    if target == "linen":
        assert made.source.count("deterministic=False") == 1
        return
    found = made.module(made.inputs[0])
    made.module.train()
    _, dropped = made.module(made.inputs[0])
    assert np.array_equal(made.module.bn.mean[...], made.variables["bn"]["mean"][...])
    assert not np.array_equal(made.module.trained.mean[...], made.variables["trained"]["mean"][...])
    for each in (found[1], dropped):
        assert {float(number) for number in np.unique(each)} == {0.0, 2.0}


class Frozen(nn.Module):
    def train(self, mode=True):
        return super().train(mode=False)


class FrozenGRU(Frozen, nn.GRU):
    """Is no layer of its own, but for its mode."""


class FrozenAttention(Frozen, nn.MultiheadAttention):
    """The same."""


class Frozens(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = FrozenAttention(6, 2, 0.5, batch_first=True)
        self.rnn = FrozenGRU(6, 3, 2, dropout=0.5, batch_first=True)

    def forward(self, x):
        return self.rnn(self.attn(x, x, x, need_weights=False)[0])[0]


def test_dropout_within_layers_that_stay_in_eval_mode_is_none():
    made = ported(Frozens(), (2, 3, 6), (3, 4, 6))
    assert made.eval_only == ()
    assert not made.uses_train
    assert "nn.MultiHeadDotProductAttention(num_heads=2" in made.source
    assert "dropout_rate" not in made.source
    assert "dropout=0.5" not in made.source


class AlwaysTrains(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm1d(6)

    def train(self, mode=True):
        return super().train()

    def forward(self, x):
        return self.bn(x)


def test_a_batch_norm_that_trains_in_eval_mode_is_refused():
    words = r"test_training.py:\d+: BatchNorm1d uses the statistics of the batch in eval mode, too"
    with pytest.raises(converters.ConversionError, match=words):
        converters.port(AlwaysTrains(), torch.randn(4, 6))


def test_buffers_that_training_changes_are_kept_with_the_running_statistics():
    made = converters.port(nn.Sequential(nn.Linear(4, 6), Codebook(), nn.Linear(6, 2)), torch.randn(7, 4))
    assert made.notes == ()
    assert made.proof.statistics < 1e-12
    codebook, images = made.variables["batch_stats"]["1"], made.inputs[0]
    assert {*codebook} == {"codes", "sums", "sizes", "steps"}
    _, after = made.module.apply(made.variables, images, train=True, mutable=["batch_stats"])
    assert after["batch_stats"]["1"]["steps"] == 4
    started = made.module.init(jax.random.key(0), images, train=True)
    assert started["batch_stats"]["1"]["steps"] == 0


def test_buffers_that_training_changes_are_variables_of_nnx():
    torch.manual_seed(0)
    made = converters.port(Codebook(), torch.randn(7, 6), target="nnx")
    assert made.notes == ()
    assert made.proof.statistics < 1e-12
    assert "is_initializing" not in made.source
    codebook = made.module
    steps = int(codebook.steps[...])
    codebook.train()
    codebook(made.inputs[0])
    assert codebook.steps[...] == steps + 1


class Decays(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        if self.training:
            self.fc.weight.data.mul_(0.9)
        return self.fc(x)


class KeepsStatistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("var", torch.ones(6))

    def forward(self, x):
        return F.batch_norm(x, self.mean, self.var, training=self.training)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Decays, "changes fc.weight of the module in place"),
        (KeepsStatistics, "batch_norm changes statistics that are no layer's"),
    ],
)
def test_a_change_in_training_that_cannot_be_kept_is_told_with_its_line(make, words):
    made = ported(make(), (4, 6), (5, 6))
    assert any(words in each and f"{__file__}:" in each for each in made.eval_only)
    assert "What only training does in PyTorch is left out; there, " in " ".join(made.source.split())


def test_what_leaves_a_module_in_training_alone_is_left_out():
    found = converters.port(Around(), torch.randn(4, 6), others=[torch.randn(5, 6)])
    assert "net\\.fc" in found.notes[-1]
    assert any("holds for eval mode; in training, " in note for note in found.notes)
    assert "What only training does in PyTorch is left out; there, " in found.source
