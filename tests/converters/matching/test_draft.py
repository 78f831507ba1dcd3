"""The draft of names and rules that an error offers where names do not fit."""

import itertools

import flax.linen as nn
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import converters
from converters import ConversionError, Fuse, Split

RNG = np.random.default_rng(0)


def dense(name: str, outputs: int, inputs: int = 8) -> dict[str, np.ndarray]:
    return {f"{name}.weight": values(outputs, inputs), f"{name}.bias": values(outputs)}


def norm(name: str, leaves: tuple[str, str] = ("weight", "bias")) -> dict[str, np.ndarray]:
    return {f"{name}.{leaf}": values(8) for leaf in leaves}


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


class ThreeLayers(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(16)(x))
        return nn.Dense(3)(nn.LayerNorm()(x))


class Attention(nn.Module):
    def setup(self):
        self.q, self.k, self.v, self.out = (nn.Dense(8) for _ in range(4))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.q(x) + self.k(x) + self.v(x))


class Block(nn.Module):
    def setup(self):
        self.ln1, self.ln2 = nn.LayerNorm(), nn.LayerNorm()
        self.attn = Attention()
        self.fc1, self.fc2 = nn.Dense(32), nn.Dense(8)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(self.fc1(self.ln2(self.attn(self.ln1(x)))))


class Transformer(nn.Module):
    def setup(self):
        self.blocks = [Block() for _ in range(12)]
        self.norm = nn.LayerNorm()
        self.head = nn.Dense(5)

    def __call__(self, x: jax.Array) -> jax.Array:
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class CompactBlock(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm()(nn.MultiHeadDotProductAttention(2)(x, x))
        return nn.LayerNorm()(nn.Dense(8)(nn.Dense(32)(x)))


class CompactTransformer(nn.Module):
    """Its blocks are in no list, and have the order of BERT's."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(12):
            x = CompactBlock()(x)
        return nn.Dense(5)(nn.LayerNorm()(x))


class Stack(nn.Module):
    def setup(self):
        self.layers = [nn.Dense(8) for _ in range(3)]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


class Packed(nn.Module):
    def setup(self):
        self.attention = nn.MultiHeadDotProductAttention(2)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.attention(x, x)


X = jax.ShapeDtypeStruct((1, 4, 8), np.float32)
THREE = {
    **dense("net.0", 16),
    "net.2.gamma": values(16),
    "net.2.beta": values(16),
    **dense("head", 3, 16),
}


def gpt(index: int) -> dict[str, np.ndarray]:
    at = f"transformer.h.{index}"
    return {
        **norm(f"{at}.ln_1"),
        **dense(f"{at}.attn.c_attn", 24),
        **dense(f"{at}.attn.c_proj", 8),
        **norm(f"{at}.ln_2"),
        **dense(f"{at}.mlp.c_fc", 32),
        **dense(f"{at}.mlp.c_proj", 8, 32),
    }


def bert(index: int) -> dict[str, np.ndarray]:
    at = f"encoder.layer.{index}"
    return {
        **norm(f"{at}.attention.norm", ("gamma", "beta")),
        **dense(f"{at}.attention.self.query", 8),
        **dense(f"{at}.attention.self.key", 8),
        **dense(f"{at}.attention.self.value", 8),
        **dense(f"{at}.attention.dense", 8),
        **norm(f"{at}.output.norm", ("gamma", "beta")),
        **dense(f"{at}.inter.dense", 32),
        **dense(f"{at}.output.dense", 8, 32),
    }


def stacked(block, head: str) -> dict[str, np.ndarray]:
    blocks = {name: tensor for index in range(12) for name, tensor in block(index).items()}
    return {**blocks, **norm("final"), **dense(head, 5)}


def block(at: str) -> dict[str, np.ndarray]:
    projections = {k: v for part in ("q", "k", "v", "out") for k, v in dense(f"{at}.attn.{part}", 8).items()}
    return {
        **norm(f"{at}.ln1"),
        **norm(f"{at}.ln2"),
        **projections,
        **dense(f"{at}.fc1", 32),
        **dense(f"{at}.fc2", 8, 32),
    }


def refused(state_dict, module: nn.Module) -> ConversionError:
    with pytest.raises(ConversionError) as caught:
        converters.convert(state_dict, module, X)
    return caught.value


CASES = {
    "three layers": (THREE, ThreeLayers()),
    "numbers with gaps": ({k: v for i in (0, 2, 4) for k, v in dense(f"layers.{i}", 8).items()}, Stack()),
    "fused projections": (stacked(gpt, "lm_head"), Transformer()),
    "other names": (stacked(bert, "classifier"), Transformer()),
    "a compact module": (stacked(bert, "classifier"), CompactTransformer()),
    "prefixed": ({f"model.{k}": v for k, v in stacked(bert, "classifier").items()}, Transformer()),
}


@pytest.mark.parametrize(("state_dict", "module"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("alphabetical", [False, True])
def test_a_draft_that_fits_converts_every_tensor(state_dict, module, alphabetical):
    state_dict = dict(sorted(state_dict.items())) if alphabetical else state_dict
    error = refused(state_dict, module)
    assert "a draft of names= with which all fits" in str(error)
    variables = converters.convert(state_dict, module, X, names=error.draft)
    back = converters.to_torch(variables, module, X, names=error.draft, like=state_dict)
    assert all(np.array_equal(back[name], tensor) for name, tensor in state_dict.items())


def test_numbered_layers_become_one_pair_and_projections_are_told_by_their_names():
    draft = refused(dict(sorted(stacked(bert, "classifier").items())), Transformer()).draft
    assert (r"^blocks\.(\d+)\.attn\.q\.", r"encoder.layer.\1.attention.self.query.") in draft
    assert (r"^blocks\.(\d+)\.attn\.v\.", r"encoder.layer.\1.attention.self.value.") in draft
    assert (r"^blocks\.(\d+)\.ln1\.weight$", r"encoder.layer.\1.attention.norm.gamma") in draft


def test_blocks_of_a_compact_module_are_aligned_one_by_one():
    error = refused(stacked(bert, "classifier"), CompactTransformer())
    at = r"encoder.layer.\1"
    assert (r"^CompactBlock_(\d+)\.LayerNorm_0\.weight$", rf"{at}.attention.norm.gamma") in error.draft
    assert (r"^CompactBlock_(\d+)\.LayerNorm_1\.weight$", rf"{at}.output.norm.gamma") in error.draft
    attention = "CompactBlock_*.MultiHeadDotProductAttention_0"
    parts = tuple(f"encoder.layer.*.attention.self.{part}.weight" for part in ("query", "key", "value"))
    assert Split(f"{attention}.in_proj_weight", parts) in error.draft
    assert "order was taken: CompactBlock_*.LayerNorm_0, CompactBlock_*.LayerNorm_1" in str(error)


def test_a_head_for_another_number_of_classes_is_in_the_draft_and_remains_a_problem():
    state_dict = {k: v for k, v in THREE.items() if not k.startswith("head")}
    error = refused(state_dict | dense("classifier", 7, 16), ThreeLayers())
    assert (r"^Dense_1\.", "classifier.") in error.draft
    assert "2 problems remain" in str(error)
    assert "these layers have another number of rows there: Dense_1" in str(error)
    with pytest.raises(ConversionError, match=r"misshapen  classifier.weight: \(7, 16\) for \(3, 16\)"):
        converters.convert(state_dict | dense("classifier", 7, 16), ThreeLayers(), X, names=error.draft)


def test_a_renumbered_list_is_aligned_whole_and_no_pair_undoes_another():
    state_dict, module = CASES["numbers with gaps"]
    error = refused(state_dict, module)
    assert error.draft == ((r"^layers\.2\.", "layers.4."), (r"^layers\.1\.", "layers.2."))
    assert "their order was taken: layers.1, layers.2" in str(error)


def test_a_tensor_of_three_times_the_rows_is_fused():
    draft = refused(stacked(gpt, "lm_head"), Transformer()).draft
    assert Fuse("transformer.h.*.attn.c_attn.*", tuple(f"blocks.*.attn.{p}.*" for p in "qkv")) in draft


def test_projections_of_a_packed_layer_are_split_and_the_order_is_called_a_guess():
    error = refused(
        {k: v for name in ("v", "q", "k", "proj") for k, v in dense(f"a.{name}", 8).items()}, Packed()
    )
    parts = tuple(f"a.{name}.weight" for name in "qkv")
    assert Split("attention.in_proj_weight", parts) in error.draft
    assert "all fits" in str(error)
    assert "do not show in which order a rule joins its parts" in str(error)


def test_subtrees_that_only_moved_become_one_pair_each():
    moved = {k: v for i in range(12) for k, v in block(f"body.blocks.{i}").items()}
    draft = refused({**moved, **norm("norm"), **dense("head", 5)}, Transformer()).draft
    assert draft == ((r"^blocks\.", "body.blocks."),)


def test_a_draft_that_explains_a_part_says_how_much():
    error = refused({**THREE, **dense("other_head", 7, 16)}, ThreeLayers())
    assert "2 problems remain" in str(error)
    assert error.draft


def test_shapes_that_explain_nothing_get_no_draft():
    error = refused(dense("Dense_0", 9) | norm("LayerNorm_0"), ThreeLayers())
    assert error.draft == ()
    assert "draft" not in str(error)


def test_a_list_of_strange_names_is_refused_without_a_long_search():
    strange = {
        f"layer{chr(0x4E00 + i // 1000)}{i:04}x.weight": np.zeros((8, 8), np.float32) for i in range(20000)
    }
    assert refused(strange, Transformer()).draft == ()


PARTS = st.sampled_from(
    ["a", "b1", "0", "1", "12", "w*", "x\\1", "(", "^", "-", "weight", "bias", "é", "_2", "", "$"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=14).map(".".join), max_size=12, unique=True))
def test_strange_names_are_refused_or_fit_with_the_draft(names):
    shapes = itertools.cycle([(8, 8), (8,), (24, 8), (5, 8), (32, 8), (24,)])
    state_dict = {name: np.zeros(shape, np.float32) for name, shape in zip(names, shapes, strict=False)}
    error = refused(state_dict, Stack())
    if "all fits" in str(error):
        converters.convert(state_dict, Stack(), X, names=error.draft)


def test_layers_that_change_places_get_a_draft_in_which_neither_name_is_changed_back():
    swapped = {**dense("ln", 5), **dense("head", 8)}

    class Two(nn.Module):
        def setup(self):
            self.ln, self.head = nn.Dense(8), nn.Dense(5)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.head(self.ln(x))

    error = refused(swapped, Two())
    assert "misshapen  ln.weight: (5, 8) for (8, 8)" in str(error)
    assert "all fits" in str(error)
    params = converters.convert(swapped, Two(), X, names=error.draft)["params"]
    np.testing.assert_array_equal(params["ln"]["kernel"], swapped["head.weight"].T)
    np.testing.assert_array_equal(params["head"]["kernel"], swapped["ln.weight"].T)
