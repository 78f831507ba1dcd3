"""Dropout and random numbers: what is dropped together, which streams are drawn from."""

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
from converters.porting.port import write
from tests.converters.porting.trained import DropPath, StochasticDepth, drop_path, ported
from tests.dropouts import same_draws
from tests.equivalence import difference, randomise


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
