"""Decoders of today: every class of transformers loads from what it saves, and continues texts as it does."""

from typing import Any

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.equivalence import FORWARD, difference, randomise
from tests.reference.decoders import plain, wide

pytestmark = pytest.mark.costly

MASK = (np.arange(13) < np.array([13, 11, 10])[:, None]).astype(int)
IDS = np.random.default_rng(4).integers(2, 50, size=(3, 13))
GROUPED = {"num_key_value_heads": 2}
TURNING = {"rope_theta": 100.0}
SLIDING = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
# The others have no way to multiply in float64.
EXPERTS = {"num_experts_per_tok": 2, "experts_implementation": "eager"}
GEMMA = {
    "head_dim": 10,
    "query_pre_attn_scalar": 7,
    "sliding_window": 5,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 5.0,
    "attn_implementation": "eager",
}
ROPES = {"full_attention": {"rope_type": "linear", "factor": 2.0}, "sliding_attention": {"rope_theta": 9.0}}
TYPED = {"rope_parameters": ROPES, "layer_types": [*ROPES], "attn_logit_softcapping": None}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 2.0, 3.0],
    "long_factor": [4.0, 5.0, 6.0],
    "original_max_position_embeddings": 10,
}
YARN = {
    "rope_type": "yarn",
    "factor": 3.0,
    "original_max_position_embeddings": 100,
    "beta_fast": 8.0,  # slows the second of three waves by a half
    **TURNING,
}
# Name of the class and options that differ from the others'; each computes something of its own.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, tied": ("LlamaForCausalLM", {**GROUPED, "tie_word_embeddings": True}),
    "llama, linear": (
        "LlamaModel",
        {"rope_parameters": {"rope_type": "linear", "factor": 3.0, **TURNING}},
    ),
    "llama, classifier": (
        "LlamaForSequenceClassification",
        {**GROUPED, "pad_token_id": 0, "num_labels": 3},
    ),
    "llama, tokens": ("LlamaForTokenClassification", {"num_labels": 3}),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 5}),
    "qwen2": ("Qwen2ForCausalLM", {**GROUPED, **SLIDING, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3ForCausalLM", {**GROUPED, "head_dim": 10, "attention_bias": True}),
    "gemma": ("GemmaForCausalLM", {**GROUPED, "head_dim": 10}),
    "gemma2": ("Gemma2ForCausalLM", {**GROUPED, **GEMMA}),
    "gemma3": ("Gemma3ForCausalLM", {**GROUPED, **GEMMA, **TYPED}),
    "olmo2": ("Olmo2ForCausalLM", GROUPED),
    "phi3": ("Phi3ForCausalLM", GROUPED),
    "phi3, long": ("Phi3Model", {"original_max_position_embeddings": 10, "rope_parameters": LONG}),
    "stablelm": ("StableLmForCausalLM", {"hidden_size": 32, "use_qkv_bias": True, **GROUPED}),
    "gpt_neox": ("GPTNeoXForCausalLM", {"use_parallel_residual": False}),
    "gpt_neox, tokens": ("GPTNeoXForTokenClassification", {"num_labels": 3}),
    "gptj": ("GPTJForCausalLM", {"rotary_dim": 4, "attn_implementation": "eager"}),
    "bloom": (
        "BloomForSequenceClassification",
        # In float64; three heads have slopes of their own.
        {"num_attention_heads": 3, "pad_token_id": 0, "num_labels": 3, "attn_implementation": "eager"},
    ),
    "falcon": ("FalconForCausalLM", {"multi_query": True}),
    "falcon, grouped": (
        "FalconModel",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "bias": True},
    ),
    "opt": ("OPTForCausalLM", {}),
    "opt, no biases": (
        "OPTForSequenceClassification",
        {"enable_bias": False, "layer_norm_elementwise_affine": False, "pad_token_id": 0, "num_labels": 3},
    ),
    "mixtral": ("MixtralForCausalLM", {**GROUPED, **EXPERTS, "num_local_experts": 5}),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        {**GROUPED, **EXPERTS, **SLIDING, "num_experts": 5, "shared_expert_intermediate_size": 12},
    ),
    "qwen3_moe": (
        "Qwen3MoeForSequenceClassification",
        {**GROUPED, **EXPERTS, "num_experts": 5, "moe_intermediate_size": 16, "decoder_sparse_step": 2}
        | {"head_dim": 10, "norm_topk_prob": True, "pad_token_id": 0, "num_labels": 3},
    ),
    "llama, yarn": ("LlamaModel", {"rope_parameters": YARN}),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("name", "options"), MODELS.values(), ids=MODELS)
def test_what_transformers_saves_is_loaded_with_its_outputs(name, options, tmp_path):
    twin = randomise(plain(name, **options), norms=0.5).eval()
    twin.tie_weights()
    twin.save_pretrained(tmp_path / "it")
    model = zoo.load(tmp_path / "it", pretrained=True)
    tokens = IDS * MASK  # by which transformers finds a text's last token
    with torch.no_grad(), wide():
        expected = twin(torch.from_numpy(tokens), attention_mask=torch.from_numpy(MASK))[0].numpy()
    (found,) = jax.tree.leaves(jax.jit(lambda model: model(tokens, MASK))(model))
    assert difference(np.asarray(found), expected) <= FORWARD


def test_texts_are_continued_as_transformers_continues_them(tmp_path):
    """Prompts of several lengths, padded on the left, longer than the window in which half the blocks see."""
    from transformers import GenerationConfig

    twin = randomise(plain("Qwen2ForCausalLM", **GROUPED, **SLIDING), norms=0.5).eval()
    twin.save_pretrained(tmp_path / "it")
    mask = MASK[:, ::-1].copy()
    options = GenerationConfig(max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
    with torch.no_grad(), wide():
        expected = twin.generate(
            torch.from_numpy(IDS), attention_mask=torch.from_numpy(mask), generation_config=options
        )
    model = zoo.load(tmp_path / "it", pretrained=True)
    found = zoo.llama.generate(model, IDS, max_new_tokens=20, attention_mask=mask)
    assert len(np.unique(found[:, 13:])) > 5, "the texts say too little"
    np.testing.assert_array_equal(found, expected.numpy())


def test_a_prompt_beyond_the_length_of_training_has_the_positions_of_long_texts(tmp_path):
    from transformers import GenerationConfig

    twin = plain("Phi3ForCausalLM", original_max_position_embeddings=10, rope_parameters=LONG)
    randomise(twin, norms=0.5).eval().save_pretrained(tmp_path / "it")
    options = GenerationConfig(max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)
    with torch.no_grad(), wide():
        expected = twin.generate(torch.from_numpy(IDS[:1]), generation_config=options)
    found = zoo.llama.generate(zoo.load(tmp_path / "it", pretrained=True), IDS[:1], max_new_tokens=6)
    assert IDS.shape[1] > 10
    np.testing.assert_array_equal(found, expected.numpy())


def test_a_text_does_not_grow_beyond_where_all_positions_change():
    model = zoo.Model(zoo.llama.create(rope={**LONG, "factor": 2.0}, max_length=40), {})
    with pytest.raises(zoo.ZooError, match=r"7 tokens after a prompt of 4; beyond 10 tokens .* at most 6"):
        zoo.llama.generate(model, IDS[:1, :4], max_new_tokens=7)


@pytest.mark.parametrize("kind", ["mistral", "gemma3"])
def test_transformers_opens_what_is_saved_for_it(kind, tmp_path):
    import transformers

    name, options = MODELS[kind]
    twin = randomise(plain(name, **options), norms=0.5).eval()
    twin.tie_weights()
    twin.save_pretrained(tmp_path / "theirs")
    zoo.save(zoo.load(tmp_path / "theirs", pretrained=True), tmp_path / "ours", format="transformers")
    tokens = torch.from_numpy(IDS)
    with torch.no_grad(), wide():
        again = getattr(transformers, name).from_pretrained(
            tmp_path / "ours", dtype=torch.float64, attn_implementation=twin.config._attn_implementation
        )
        assert torch.equal(again.eval()(tokens)[0], twin(tokens)[0])
