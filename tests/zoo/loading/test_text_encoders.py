"""Encoders of text as transformers saves them: every class against transformers' own, in float64."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.equivalence import randomise
from tests.reference import published
from tests.reference.rotary_models import float64_only
from tests.reference.text_models import OUTPUTS
from tests.zoo.loading.test_transformers_config import entry_of, sentences
from tests.zoo.preprocessing.test_text import add_tokenizer
from zoo import mpnet
from zoo.deberta.layers import indices

# Without padding tokens; of odd length, the second and third padded on the right.
IDS = np.random.default_rng(3).integers(3, 50, (3, 9))
MASK = (np.arange(9) < np.array([9, 4, 7])[:, None]).astype(int)
NO_IDS = {"bos_token_id": None, "eos_token_id": None}
SIZES = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 40,
}
OF_TEXTS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
ALL = ("Model", *OF_TEXTS, "ForMultipleChoice")
PAIRS = ("ForNextSentencePrediction", "ForPreTraining")
RELATIVE = {"relative_attention": True, "type_vocab_size": 2, "layer_norm_eps": 1e-7}
V3 = {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_buckets": 4, "legacy": False}
# Beginning of the classes' names -> their ends, and options. What is BERT under another name needs few.
FAMILIES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "Ernie": ((*ALL, *PAIRS), {"use_task_id": True}),
    "XLMRoberta": (OF_TEXTS[:1], {}),
    "Camembert": (OF_TEXTS[2:3], {}),
    "Data2VecText": (OF_TEXTS[1:3], {}),
    "Electra": ((*ALL, "ForPreTraining", "ForCausalLM"), {"embedding_size": 8}),
    "MPNet": (ALL, {}),
    "Albert": (
        (*ALL, "ForPreTraining"),
        {
            "embedding_size": 8,
            "num_hidden_layers": 3,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "num_labels": 2,
        },
    ),
    "ModernBert": (ALL, {"num_hidden_layers": 4, "local_attention": 10, "pad_token_id": 0}),
    "DebertaV2": (ALL, {**RELATIVE, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, **V3}),
    "Deberta": ((*ALL[:-1],), {**RELATIVE, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 6}),
}
CASES = {f"{prefix}{end}": options for prefix, (ends, options) in FAMILIES.items() for end in ends}


def outputs(found: Any) -> dict[str, np.ndarray]:
    names = [name for name in OUTPUTS if getattr(found, name, None) is not None]
    return {name: np.asarray(getattr(found, name)) for name in names}


def saved(name: str, directory: Path, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """A small random model of a class, which transformers has saved."""
    published.declare_operators()
    import transformers

    cls = getattr(transformers, name)
    config = cls.config_class(**{**SIZES, **NO_IDS, "num_labels": 3, **CASES[name]})
    if name.endswith("QuestionAnswering"):
        config.num_labels = 2  # as those that have been trained
    # Where there is a choice, that whose softmax is in float64.
    config._attn_implementation = "sdpa" if cls._supports_sdpa else "eager"
    with float64_only():
        twin = randomise(cls(config)).eval().to(dtype)
    twin.tie_weights()
    twin.save_pretrained(directory)
    return twin


@pytest.mark.parametrize("name", CASES)
def test_what_transformers_saves_loads_and_computes_the_same(name: str, tmp_path: Path) -> None:
    twin = saved(name, tmp_path)
    inputs = (IDS[None], MASK[None]) if name.endswith("MultipleChoice") else (IDS, MASK)
    with torch.no_grad(), float64_only():
        theirs = outputs(twin(*map(torch.from_numpy, inputs)))
    with jax.enable_x64(True):
        ours = outputs(zoo.load(tmp_path, pretrained=True)(*inputs))
    assert ours.keys() == theirs.keys()
    for field, expected in theirs.items():
        error = np.abs(ours[field] - expected).max() / np.abs(expected).max()
        print(f"{name}.{field} differs by {error:.1e}")
        assert error <= 1e-12, field


def test_modernbert_is_the_same_in_the_words_of_older_files_and_refused_where_it_is_not() -> None:
    sizes = {"model_type": "modernbert", "hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 3}
    old = {**sizes, "global_attn_every_n_layers": 2, "global_rope_theta": 5e3, "local_rope_theta": 7e3}
    ropes = {"full_attention": 5e3, "sliding_attention": 7e3}
    new = {
        **sizes,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in ropes.items()
        },
    }
    config = entry_of(new).config
    assert entry_of(old).config == config
    assert (config["global_rope_theta"], config["local_rope_theta"]) == (5e3, 7e3)
    stretched = {**ropes, "full_attention": {"rope_type": "yarn", "factor": 2.0}}
    with pytest.raises(zoo.ManifestError, match="rope_parameters: "):
        entry_of({**new, "rope_parameters": stretched})


def test_ranges_of_distances_end_where_transformers_has_them() -> None:
    """In float32, and at the sizes of published models."""
    from transformers.models.deberta_v2 import modeling_deberta_v2
    from transformers.models.mpnet import modeling_mpnet

    states = torch.zeros(1, 1, 700, 1)
    theirs = modeling_deberta_v2.build_relative_position(states, states, 256, 512)[0].numpy()
    ours = indices(700, zoo.deberta.create().settings)
    np.testing.assert_array_equal(ours, np.clip(theirs + 256, 0, 511))
    places = torch.arange(700)
    theirs = modeling_mpnet.MPNetEncoder.relative_position_bucket(places - places[:, None]).numpy()
    np.testing.assert_array_equal(mpnet.buckets(700), theirs)


def test_deberta_says_positions_in_words_or_lists_and_defaults_as_none() -> None:
    said = {"model_type": "deberta-v2", "relative_attention": True, "max_relative_positions": -1}
    words = entry_of({**said, "pos_att_type": "p2c|c2p", "norm_rel_ebd": "layer_norm"}).config
    assert (words["position_attention"], words["norm_relative"]) == (("p2c", "c2p"), True)
    heads = {"hidden_size": 24, "num_attention_heads": 3}
    assert entry_of({**said, **heads, "attention_head_size": 8}).config["heads"] == 3
    with pytest.raises(zoo.ManifestError, match="attention_head_size: 4; "):
        entry_of({**said, **heads, "attention_head_size": 4})
    with pytest.raises(zoo.ManifestError, match="norm_rel_ebd: 'batch_norm'; expected true or false"):
        entry_of({**said, "norm_rel_ebd": "batch_norm"})


@pytest.mark.parametrize("name", ["MPNetModel", "ModernBertModel"])
def test_vectors_of_texts_are_means_of_states(name: str, tmp_path: Path) -> None:
    twin = saved(name, tmp_path, torch.float32)
    sentences(add_tokenizer(tmp_path), ["Transformer", "Pooling"], pooling_mode_mean_tokens=True)
    found = zoo.embed(tmp_path, ["w3 w4 w5", "w7"])
    ids = [zoo.tokenizer(tmp_path).encode(text).ids for text in ("w3 w4 w5", "w7")]
    with torch.no_grad():
        wanted = [twin(torch.tensor([each])).last_hidden_state[0].mean(0).numpy() for each in ids]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["Electra", "DebertaV2"])
def test_texts_are_classified(prefix: str, tmp_path: Path) -> None:
    twin = saved(f"{prefix}ForSequenceClassification", tmp_path, torch.float32)
    tokens = zoo.tokenizer(add_tokenizer(tmp_path)).encode("w3 w4", "w5")
    with torch.no_grad():
        ids, types = (torch.tensor([each]) for each in (tokens.ids, tokens.type_ids))
        wanted = torch.softmax(twin(ids, token_type_ids=types).logits[0], -1).numpy()
    ((first, *_),) = zoo.predict(tmp_path, [("w3 w4", "w5")])
    assert str(first[0]).endswith(str(wanted.argmax()))
    assert abs(first[1] - wanted.max()) < 1e-5
