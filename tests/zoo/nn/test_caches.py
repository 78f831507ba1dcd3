"""Attention to a cache, and the logits of single tokens, beside their plain forms."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from zoo._nn.attention import attention
from zoo._nn.caches import Cache, causal_attention
from zoo._nn.decoder import token_logits


@pytest.mark.parametrize(("key_heads", "cap"), [(4, None), (2, 0.7)])
def test_attention_to_a_cache_is_that_to_keys_and_values(key_heads, cap):
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, 1, heads, 6)) for heads in (4, key_heads, key_heads))
    keys, values = (rng.normal(size=(2, key_heads, 5, 6)) for _ in range(2))
    mask = np.array([[True, True, True, True, False], [False, True, True, True, False]])[:, None, None]
    with jax.enable_x64(True):
        cache = Cache(*map(jax.numpy.asarray, (keys, values)))
        out, made = causal_attention(query, key, value, cache, 3, mask=mask, scale=0.3, cap=cap)
        keys[:, :, 3], values[:, :, 3] = key[:, 0], value[:, 0]
        arrays = map(jax.numpy.asarray, (query, keys.swapaxes(1, 2), values.swapaxes(1, 2)))
        expected = np.asarray(attention(*arrays, mask=mask, scale=0.3, cap=cap))
        out, made = jax.tree.map(np.asarray, (out, made))
    assert np.abs(out - expected).max() <= 1e-14
    assert np.array_equal(made.keys, keys)
    assert np.array_equal(made.values, values)


def test_logits_of_single_tokens_are_the_embeddings_times_states():
    with jax.enable_x64(True):
        table, states = (np.random.default_rng(0).normal(size=size) for size in ((11, 6), (3, 6)))
        embed = nn.Embed(11, 6, param_dtype=float).bind({"params": {"embedding": table}})
        found = np.asarray(token_logits(embed, jax.numpy.asarray(states)))
    assert np.abs(found - states @ table.T).max() <= 1e-14
