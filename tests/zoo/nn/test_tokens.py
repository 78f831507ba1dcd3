"""Arguments of text models, in eager and compiled calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import bert, gpt2
from zoo._nn.attention import attention
from zoo._nn.tokens import token_ids

SIZES = {"vocab_size": 30, "max_length": 12, "width": 8, "depth": 1, "heads": 2}
IDS = np.array([[5, 6, 7, 8], [9, 10, 11, 12]], np.int32)


@pytest.fixture(scope="module", params=[bert, gpt2], ids=["bert", "gpt2"])
def model(request):
    module = request.param.create(**SIZES)
    return zoo.Model(module, module.init(jax.random.key(0), IDS))


@pytest.mark.parametrize("unknown", [30, -1, 99999])
def test_an_id_without_an_embedding_is_refused_with_its_place(model, unknown):
    ids = IDS.copy()
    ids[1, 2] = unknown
    with pytest.raises(zoo.ZooError, match=rf"input_ids\[1, 2\] is {unknown}; .* for 0 to 29"):
        model(ids)
    with pytest.raises(zoo.ZooError, match=rf"input_ids\[1, 2\] is {unknown}"):
        model(jnp.asarray(ids))


def test_a_position_without_an_embedding_is_refused(model):
    with pytest.raises(zoo.ZooError, match=r"position_ids\[0, 3\] is 12; .* for 0 to 11"):
        model(IDS, position_ids=np.array([[0, 1, 2, 12]] * 2))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[0], r"input_ids of shape \(4,\) lack the axis of the batch; .*: pass input_ids\[None\]\."),
        (IDS.astype(float), "input_ids are float"),
        ([[5, 6, 7], [8]], "input_ids are no array: .*; pad the texts to one length"),
    ],
)
def test_what_are_no_ids_is_refused(model, ids, message):
    with pytest.raises(zoo.ZooError, match=message):
        model(ids)


def test_a_mask_of_another_shape_is_refused(model):
    with pytest.raises(zoo.ZooError, match=r"attention_mask has the shape \(2, 3\); .* \(2, 4\)"):
        model(IDS, np.ones((2, 3)))


def test_lists_are_arrays(model):
    for ours, theirs in zip(jax.tree.leaves(model(IDS.tolist())), jax.tree.leaves(model(IDS)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_third_argument_is_the_token_types(model):
    types = np.array([[0, 0, 1, 1]] * 2)
    for ours, theirs, without in zip(
        jax.tree.leaves(model(IDS, None, types)),
        jax.tree.leaves(model(IDS, token_type_ids=types)),
        jax.tree.leaves(model(IDS)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(ours, without)


def test_the_check_adds_nothing_to_a_compiled_program():
    traced = jax.make_jaxpr(lambda ids: token_ids(ids, 30))(IDS)
    assert not traced.eqns


def test_distilbert_has_no_token_types():
    module = bert.create(**SIZES, variant="distilbert", token_types=0, head="none")
    with pytest.raises(zoo.ZooError, match="distilbert has no token types; leave token_type_ids out"):
        module.init(jax.random.key(0), IDS, None, np.zeros_like(IDS))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_attention_in_half_precision_compiles_on_cpus(dtype):
    query, key, value = (
        jax.random.normal(each, (2, 5, 3, 8), dtype) for each in jax.random.split(jax.random.key(0), 3)
    )
    found = jax.jit(lambda *each: attention(*each, is_causal=True))(query, key, value)
    wanted = attention(*(each.astype(jnp.float32) for each in (query, key, value)), is_causal=True)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float32), wanted, atol=4 * jnp.finfo(dtype).eps)
