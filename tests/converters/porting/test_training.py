"""Training: what is dropped together, what draws random numbers, and what the source leaves out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

import converters
from converters.porting.dialects import NNX
from converters.porting.loading import loaded
from converters.porting.port import Written, write
from tests.dropouts import same_draws
from tests.equivalence import difference, randomise


class DropPath(nn.Module):
    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if not self.training:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.drop_prob)
        return x * kept / (1 - self.drop_prob)


class StochasticDepth(nn.Module):
    """Stands for torchvision's, whose name and attributes it has."""

    def __init__(self, p, mode):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x):
        kept = torch.empty([1] * x.ndim).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p) if self.training else x


class Drops(nn.Module):
    def __init__(self):
        super().__init__()
        self.path, self.channels, self.numbers = DropPath(0.5), nn.Dropout2d(0.5), nn.Dropout(0.5)
        self.whole = StochasticDepth(0.5, "batch")
        self.saturated, self.features = nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5)

    def forward(self, x):
        x = torch.ones_like(x)
        one = self.path(x), self.channels(x), self.numbers(x), F.dropout(x, 0.5, training=False)
        two = self.whole(x), self.saturated(x), self.features(x), F.dropout2d(x, 0.5, self.training)
        return one, two


class Always(nn.Module):
    def forward(self, x):
        return F.dropout(torch.ones_like(x), 0.5)


class Sampled(nn.Module):
    def forward(self, mean, std):
        return mean + torch.randn_like(std) * std, torch.rand_like(mean), torch.bernoulli(torch.sigmoid(mean))


def drop_path(x, rate, training):
    if rate == 0 or not training:
        return x
    kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - rate)
    return x * kept.div_(1 - rate)


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


def ported(module: nn.Module, *sizes: tuple[int, ...], count: int = 1) -> Written:
    bind = inspect.signature(module.forward).bind
    return write(
        module.eval(), *(bind(*(torch.randn(size) for _ in range(count))).arguments for size in sizes)
    )


def test_dropout_drops_together_what_torch_drops_together():
    made = ported(Drops(), (8, 4, 6, 5), (7, 4, 3, 8))
    assert made.uses_train
    ours = loaded(made.source, made.root, "<written>")()
    x = jnp.ones((64, 6, 5, 4))
    assert all(np.array_equal(each, x) for each in jax.tree.leaves(ours.apply({}, x)))
    one, two = ours.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    path, channels, numbers, none = one
    assert {float(each) for each in np.unique(path)} == {0.0, 2.0}
    assert np.array_equal(path, jnp.broadcast_to(path[:, :1, :1, :1], x.shape))
    assert np.array_equal(channels, jnp.broadcast_to(channels[:, :1, :1], x.shape))
    assert len(np.unique(channels[:, 0, 0], axis=0)) > 2  # each channel by itself
    assert 0.45 < float(numbers.mean() / 2) < 0.55
    assert len(np.unique(np.asarray(numbers).reshape(64, -1), axis=0)) == 64
    assert np.array_equal(none, x)
    whole, saturated, features, again = two
    assert len(np.unique(whole)) == 1
    torch.manual_seed(0)
    values = np.unique(F.alpha_dropout(torch.ones(200), 0.5, training=True))
    assert np.allclose(np.unique(saturated), values, rtol=1e-6)
    assert np.array_equal(features, jnp.broadcast_to(features[:, :1, :1], x.shape))
    assert np.array_equal(again, jnp.broadcast_to(again[:, :1, :1], x.shape))


def test_dropout_that_torch_applies_in_eval_mode_too_is_applied():
    made = ported(Always(), (4, 6), (5, 6))
    found = loaded(made.source, made.root, "<written>")().apply(
        {}, jnp.ones((64, 6)), rngs={"dropout": jax.random.key(0)}
    )
    assert {float(each) for each in np.unique(found)} == {0.0, 2.0}


class ByMode(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5 if self.training else 0.25)


def test_dropout_of_another_rate_in_eval_mode_is_refused():
    with pytest.raises(converters.ConversionError, match=r"drops 0\.25 in eval mode, and 0\.5 in training"):
        converters.port(ByMode(), torch.randn(2, 6))


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.bn, self.drop = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)

    def forward(self, x):
        x = F.dropout(self.drop(self.bn(self.fc(x))), 0.3, self.training)
        return x + torch.randn_like(x) if self.training else x


def test_an_nnx_module_draws_from_streams_of_its_own_and_trains_under_nnx_transforms():
    layers, sizes = nn.Sequential(Noisy(), nn.Tanh(), Noisy()).eval(), ((2, 6), (3, 6))
    made = write(layers, *({"input": torch.randn(size)} for size in sizes), dialect=NNX)
    assert "self.rngs = rngs.fork()" in made.source
    module = loaded(made.source, made.root, "<written>")(rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (4, 6))
    tensors = converters.to_torch(nnx.state(module), module)  # a list that is the whole module
    assert {*tensors} == {name for name in layers.state_dict() if "num_batches" not in name}
    module.eval()
    keys = jax.tree.leaves(nnx.state(module, nnx.RngKey))
    assert len({tuple(jax.random.key_data(each).tolist()) for each in keys}) == len(keys) > 4
    graph, params, statistics, streams = nnx.split(module, nnx.Param, nnx.BatchStat, nnx.RngState)
    assert np.array_equal(nnx.merge(graph, params, statistics, streams)(x), module(x))
    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    module.train()

    @nnx.jit
    def step(module, optimizer):
        value, gradients = nnx.value_and_grad(lambda module: (module(x) ** 2).mean())(module)
        optimizer.update(module, gradients)
        return value

    before, first = jax.tree.map(jnp.copy, nnx.state(module, nnx.Param)), step(module, optimizer)
    assert step(module, optimizer) != first  # other noise, and other params
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, nnx.state(module, nnx.Param))
    assert all(jax.tree.leaves(changed))


def test_random_numbers_come_from_streams():
    made = ported(Sampled(), (4, 6), (5, 6), count=2)
    ours = loaded(made.source, made.root, "<written>")()
    mean, std = jnp.full((4000, 6), 2.0), jnp.full((4000, 6), 3.0)
    rngs = {"noise": jax.random.key(0), "dropout": jax.random.key(1)}
    normal, uniform, kept = ours.apply({}, mean, std, rngs=rngs)
    assert abs(float(normal.mean()) - 2) < 0.1
    assert abs(float(normal.std()) - 3) < 0.1
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1
    assert {float(each) for each in np.unique(kept)} == {0.0, 1.0}
    assert abs(float(kept.mean()) - float(jax.nn.sigmoid(2.0))) < 0.02
    again = ours.apply({}, mean, std, rngs=rngs)
    assert np.array_equal(normal, again[0])


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


class Draws(nn.Module):
    """Drops numbers, weights of attention, channels, examples and the whole batch, and draws a code."""

    def __init__(self):
        super().__init__()
        self.conv, self.channels, self.whole = (
            nn.Conv2d(2, 4, 1),
            nn.Dropout2d(0.3),
            StochasticDepth(0.4, "batch"),
        )
        self.block = nn.TransformerEncoderLayer(4, 2, 8, 0.3, batch_first=True)
        self.path, self.code, self.fc = DropPath(0.4), nn.Linear(4, 8), nn.Linear(4, 2)

    def forward(self, x):
        x = self.channels(self.conv(x)).flatten(2).mT
        x = x + self.whole(x)
        x = self.block(x)
        x = x + drop_path(self.path(x.sin()), 0.3, self.training)
        mean, std = self.code(x.mean(1)).chunk(2, 1)
        return self.fc(mean + std * torch.randn_like(std) if self.training else mean)


def test_training_is_equal_where_both_draw_the_same():
    module = randomise(Draws().eval()).float()
    made = ported(module, (3, 2, 3, 4), (4, 2, 5, 4))
    assert made.eval_only == ()
    ours, images = loaded(made.source, made.root, "<written>")(), torch.randn(5, 2, 3, 4).double()
    with jax.enable_x64(True), same_draws():
        (x,) = made.arrays({"x": images.numpy()})
        variables = converters.convert(module.double().state_dict(), ours, x)
        images.requires_grad_()
        wanted = module.train()(images)
        wanted.square().sum().backward()

        def loss(x):
            found = ours.apply(
                variables, x, train=True, rngs={"dropout": jax.random.key(0), "noise": jax.random.key(1)}
            )
            return (found**2).sum(), found

        gradient, found = jax.grad(loss, has_aux=True)(x)
        (gradient,) = made.inputs_back([gradient])
        assert difference(np.asarray(found), wanted.detach().numpy()) < 1e-14
        assert difference(np.asarray(gradient), images.grad.numpy()) < 1e-14


def test_what_leaves_a_module_in_training_alone_is_left_out():
    found = converters.port(Around(), torch.randn(4, 6), others=[torch.randn(5, 6)])
    assert "net\\.fc" in found.notes[-1]
    assert any("holds for eval mode; in training, " in note for note in found.notes)
    assert "What only training does in PyTorch is left out; there, " in found.source


def test_a_dropout_in_place_of_a_view_is_nothing_else_in_training():
    layers = nn.Flatten(), nn.Dropout(0.5, inplace=True), nn.Linear(6, 2)
    made = ported(nn.Sequential(*layers), (4, 6, 1, 1), (5, 6, 1, 1))
    assert made.eval_only == ()
    assert made.uses_train


class Attends(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(
            x, x, torch.ones_like(x), dropout_p=0.5 if self.training else 0.0
        )


def test_attention_drops_its_weights_in_training():
    made = ported(Attends(), (2, 3, 5, 4), (3, 3, 6, 4))
    assert made.uses_train
    ours = loaded(made.source, made.root, "<written>")()
    x = jnp.ones((2, 16, 3, 4))
    assert np.allclose(ours.apply({}, x), 1)
    found = np.asarray(ours.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    assert abs(float(found.mean()) - 1) < 0.2
    assert found.std() > 0.1
