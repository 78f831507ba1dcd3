"""Attention and its masks."""

from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo._nn.attention import attention, key_mask
from zoo.transformer import create


def arrays(queries: int = 5, keys: int = 7, dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(2, length, 3, 4)).astype(dtype) for length in (queries, keys, keys)]


KEPT = np.array([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]])
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "causal": {"is_causal": True},
    "padded": {"mask": key_mask(KEPT)},
    "causal and padded": {"mask": key_mask(KEPT), "is_causal": True},
    "a mask for each head": {"mask": np.random.default_rng(2).random((1, 3, 5, 7)) < 0.6},
    "a query without keys": {"mask": np.arange(5)[None, None, :, None] < 4},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@each_option
def test_both_paths_agree_in_float32(options: dict[str, Any]) -> None:
    """A dropout that keeps everything takes the path that float64 takes."""
    fused = attention(*arrays(), **options)
    plain = attention(*arrays(), **options, dropout=lambda weights: weights)
    assert fused.shape == plain.shape == (2, 5, 3, 4)
    np.testing.assert_allclose(fused, plain, rtol=0, atol=1e-6)


@each_option
def test_float64_stays_float64_and_equals_pytorch(options: dict[str, Any]) -> None:
    ours = arrays(dtype="float64")
    mask = np.broadcast_to(options.get("mask", True), (2, 3, 5, 7))
    mask = mask & np.tri(5, 7, dtype=bool) if options.get("is_causal") else mask
    # PyTorch gives zeros to a query without keys; with a bias that swallows all products, the average.
    bias = torch.from_numpy(np.where(mask, 0.0, -1e300))
    expected = F.scaled_dot_product_attention(
        *(torch.from_numpy(x).transpose(1, 2) for x in ours), attn_mask=bias, scale=options.get("scale")
    ).transpose(1, 2)
    with jax.enable_x64(True):
        found = np.asarray(attention(*map(jnp.asarray, ours), **options))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_dtype_stays_on_both_paths(dtype: str) -> None:
    for dropout in (None, nn.Dropout(0.5, deterministic=True).bind({})):
        found = attention(*(jnp.asarray(x, dtype) for x in arrays()), dropout=dropout)
        assert found.dtype == dtype


def test_dropout_acts_on_the_weights() -> None:
    """Without weights nothing is left of the values; twice the weights are twice the output."""
    doubled = attention(*arrays(), dropout=lambda weights: 2 * weights)
    np.testing.assert_allclose(doubled, 2 * attention(*arrays()), rtol=1e-5, atol=1e-6)
    assert not attention(*arrays(), dropout=jnp.zeros_like).any()


def test_a_key_mask_is_boolean_and_broadcasts_over_heads_and_queries() -> None:
    mask = key_mask(jnp.asarray(KEPT))
    assert mask is not None
    assert mask.shape == (2, 1, 1, 7)
    assert mask.dtype == bool
    assert key_mask(None) is None


SMALL: dict[str, Any] = {
    "source_vocab_size": 11,
    "target_vocab_size": 13,
    "width": 12,
    "heads": 3,
    "feed_forward": 20,
}
SMALL |= {"encoder_layers": 1, "decoder_layers": 2, "dropout": 0.5}


@cache
def small() -> zoo.Model:
    return zoo.load("transformer_base", **SMALL)


def test_a_target_sees_nothing_that_comes_later() -> None:
    model, source = small(), np.arange(6)[None]
    target = np.array([[1, 2, 3, 4, 5]])
    changed = np.array([[1, 2, 3, 9, 9]])
    before, after = model(source, target), model(source, changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.allclose(before[:, 3], after[:, 3])


def test_padding_does_not_matter() -> None:
    model = small()
    source, target = np.array([[3, 4, 5]]), np.array([[1, 2]])
    padded = np.array([[3, 4, 5, 9, 9]]), np.array([[1, 2, 7]])
    masks = np.array([[1, 1, 1, 0, 0]]), np.array([[1, 1, 0]])
    found = model(*padded, *masks)
    np.testing.assert_allclose(found[:, :2], model(source, target), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[:, :2], model(*padded)[:, :2], rtol=1e-3)


@pytest.mark.parametrize("scan", [False, True])
def test_generated_tokens_are_those_of_whole_calls(scan: bool) -> None:
    module = create(**SMALL, scan=scan, norm_first=True, max_length=21, decoder_start_token_id=1)
    sources, mask = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 9, 10]]), np.array([[1, 1, 1, 0, 0], [1] * 5])
    targets = np.ones((2, 21), int)
    model = zoo.Model(module, jax.jit(module.init)(jax.random.key(0), sources, targets))
    whole = jax.jit(lambda targets: model(sources, targets, mask))
    for column in range(20):
        targets[:, column + 1] = whole(targets)[:, column].argmax(-1)
    found = zoo.generate(model, [[3, 4, 5], [6, 7, 8, 9, 10]], max_new_tokens=20)
    np.testing.assert_array_equal(found, targets)
    assert scan or len(np.unique(targets)) == 8


def test_training_drops_and_evaluation_does_not() -> None:
    model = small()
    texts = np.arange(6)[None], np.arange(5)[None]
    first, second = (model(*texts, train=True, rngs={"dropout": jax.random.key(seed)}) for seed in (0, 1))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(model(*texts), model(*texts))


@pytest.mark.parametrize("config", [{"width": 10}, {"width": 9}, {"activation": "swish"}])
def test_impossible_sizes_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(zoo.ZooError, match=r"width=|swish"):
        create(**{**SMALL, **config})


def test_bfloat16_stays_bfloat16() -> None:
    module = create(**SMALL, dtype=jnp.bfloat16)
    texts = np.arange(6)[None], np.arange(5)[None]
    output, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), *texts)
    assert output.dtype == jnp.bfloat16
