"""Training: what is dropped together, what draws random numbers, and what the source leaves out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import converters
from converters.porting.loading import loaded
from converters.porting.port import Written, write


class DropPath(nn.Module):
    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if not self.training:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.drop_prob)
        return x * kept / (1 - self.drop_prob)


class Drops(nn.Module):
    def __init__(self):
        super().__init__()
        self.path, self.channels, self.numbers = DropPath(0.5), nn.Dropout2d(0.5), nn.Dropout(0.5)

    def forward(self, x):
        x = torch.ones_like(x)
        return self.path(x), self.channels(x), self.numbers(x), F.dropout(x, 0.5, training=False)


class Always(nn.Module):
    def forward(self, x):
        return F.dropout(torch.ones_like(x), 0.5)


class Sampled(nn.Module):
    def forward(self, mean, std):
        return mean + torch.randn_like(std) * std, torch.rand_like(mean), torch.bernoulli(torch.sigmoid(mean))


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.aux = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return (self.fc(x), self.aux(x)) if self.training else self.fc(x)


class Leaks(nn.Module):
    def forward(self, x):
        return F.leaky_relu(x, 0.3 if self.training else 0.1)


def ported(module: nn.Module, *sizes: tuple[int, ...], count: int = 1) -> Written:
    bind = inspect.signature(module.forward).bind
    return write(
        module.eval(), *(bind(*(torch.randn(size) for _ in range(count))).arguments for size in sizes)
    )


def test_dropout_drops_together_what_torch_drops_together():
    made = ported(Drops(), (8, 4, 6, 5), (7, 4, 3, 8))
    assert made.uses_train
    ours = loaded(made.source, made.root, "<written>")
    x = jnp.ones((64, 6, 5, 4))
    assert all(np.array_equal(each, x) for each in ours.apply({}, x))
    path, channels, numbers, none = ours.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert {float(each) for each in np.unique(path)} == {0.0, 2.0}
    assert np.array_equal(path, jnp.broadcast_to(path[:, :1, :1, :1], x.shape))
    assert np.array_equal(channels, jnp.broadcast_to(channels[:, :1, :1], x.shape))
    assert len(np.unique(channels[:, 0, 0], axis=0)) > 2  # each channel by itself
    assert 0.45 < float(numbers.mean() / 2) < 0.55
    assert len(np.unique(np.asarray(numbers).reshape(64, -1), axis=0)) == 64
    assert np.array_equal(none, x)


def test_dropout_that_torch_applies_in_eval_mode_too_is_applied():
    made = ported(Always(), (4, 6), (5, 6))
    found = loaded(made.source, made.root, "<written>").apply(
        {}, jnp.ones((64, 6)), rngs={"dropout": jax.random.key(0)}
    )
    assert {float(each) for each in np.unique(found)} == {0.0, 2.0}


def test_random_numbers_come_from_streams():
    made = ported(Sampled(), (4, 6), (5, 6), count=2)
    ours = loaded(made.source, made.root, "<written>")
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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Auxiliary, "Auxiliary does other things: it calls aux and returns 2 arrays instead of 1"),
        (Leaks, "Leaks calls leaky_relu with other numbers"),
    ],
)
def test_what_only_training_does_is_told(make, words):
    made = ported(make(), (4, 6), (5, 6))
    assert words in made.eval_only[0]
    assert f"is left out; there, {words}." in " ".join(made.source.split())
    assert not made.uses_train
    notes = converters.port(make(), torch.randn(4, 6), others=[torch.randn(5, 6)]).notes
    assert any(f"holds for eval mode; in training, {words}" in note for note in notes)


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
    ours = loaded(made.source, made.root, "<written>")
    x = jnp.ones((2, 16, 3, 4))
    assert np.allclose(ours.apply({}, x), 1)
    found = np.asarray(ours.apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    assert abs(float(found.mean()) - 1) < 0.2
    assert found.std() > 0.1
