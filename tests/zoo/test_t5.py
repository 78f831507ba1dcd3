"""T5 and its relatives: directories that transformers writes, generation, and relative positions."""

import jax
import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.cases.case import ids as numbers
from tests.cases.case import kept
from tests.cases.seq2seq import BOTH, SOURCE
from tests.equivalence import FORWARD, difference, randomise
from tests.reference import seq2seq_models
from tests.reference.published import declare_operators
from zoo._nn.relative_buckets import Buckets

pytestmark = pytest.mark.costly

GATED = {"feed_forward_proj": "gated-gelu"}
UNSCALED = {**GATED, "tie_word_embeddings": False}
# Name of the test -> class of transformers, its options, and whether the head has a matrix of its own.
CLASSES = {
    "T5Model": ("T5Model", {}, False),
    "T5EncoderModel": ("T5EncoderModel", {}, False),
    "T5ForConditionalGeneration": ("T5ForConditionalGeneration", {}, False),
    "T5 1.1": ("T5ForConditionalGeneration", UNSCALED, True),
    "T5 1.1, tied": ("T5ForConditionalGeneration", UNSCALED, False),
    "MT5Model": ("MT5Model", {}, False),
    "MT5EncoderModel": ("MT5EncoderModel", {}, False),
    "MT5ForConditionalGeneration": ("MT5ForConditionalGeneration", {}, True),
    "UMT5Model": ("UMT5Model", {}, False),
    "UMT5EncoderModel": ("UMT5EncoderModel", {"feed_forward_proj": "silu"}, False),
    "UMT5ForConditionalGeneration": ("UMT5ForConditionalGeneration", {}, False),
}


@pytest.fixture(autouse=True)
def _doubles():
    with jax.enable_x64(True):
        yield


def made(name, options, *, untied=False):
    twin = seq2seq_models.published(name, **{**seq2seq_models.T5, **options})
    if untied:
        twin.lm_head.weight = nn.Parameter(torch.zeros(50, 24))
    return randomise(twin).eval()


@pytest.mark.parametrize(("name", "options", "untied"), CLASSES.values(), ids=CLASSES)
def test_directories_of_transformers_load(name, options, untied, tmp_path):
    twin = made(name, options, untied=untied)
    twin.save_pretrained(tmp_path)
    model = zoo.load(tmp_path, pretrained=True)
    inputs = SOURCE if "Encoder" in name else BOTH
    with torch.no_grad():
        keywords = zip(seq2seq_models.ARGUMENTS, map(torch.from_numpy, inputs), strict=False)
        theirs = twin(**dict(keywords))
    expected = theirs.get("logits", theirs.get("last_hidden_state")).numpy()
    (found,) = map(np.asarray, jax.tree.leaves(jax.jit(model)(*inputs)))
    print(f"{name}: outputs differ by {difference(found, expected):.1e}")
    assert difference(found, expected) <= FORWARD
    assert ("lm_head" in model.variables["params"]) is untied


@pytest.mark.parametrize(
    ("name", "count", "scan"), [("T5 1.1", 200, False), ("UMT5ForConditionalGeneration", 20, True)]
)
def test_tokens_are_those_of_transformers(name, count, scan, tmp_path):
    kind, options, untied = CLASSES[name]
    # transformers' cache has as many blocks as the encoder.
    twin = made(kind, {**options, "num_layers": 2}, untied=untied)
    twin.save_pretrained(tmp_path)
    ids, mask = numbers(4, 17, 50), kept(17, 9, 3, 1, length=17)
    theirs = twin.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        decoder_start_token_id=0,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
    )
    model = zoo.load(tmp_path, pretrained=True, scan=scan)
    ours = zoo.generate(model, ids, attention_mask=mask, max_new_tokens=count, eos_token_id=())
    assert np.array_equal(ours, theirs)


def test_the_encoder_is_read_of_a_file_of_both(tmp_path):
    made("T5ForConditionalGeneration", UNSCALED, untied=True).save_pretrained(tmp_path)
    model = zoo.load(tmp_path, pretrained=True, head="encoder")
    assert {*model.variables["params"]} == {"shared", "encoder"}
    assert any("left out" in note and "the other head: decoder." in note for note in model.notes)


@pytest.mark.parametrize(("count", "most"), [(32, 128), (8, 12), (16, 1000), (64, 77)])
@pytest.mark.parametrize("both", [True, False])
def test_buckets_are_transformers(count, most, both):
    declare_operators()
    from transformers.models.t5.modeling_t5 import T5Attention

    queries, keys = np.arange(0, 1200, 37), np.arange(1200)
    theirs = T5Attention._relative_position_bucket(
        torch.from_numpy(keys[None] - queries[:, None]), both, count, most
    )
    ours = Buckets(count, most).of(queries, keys, both_sides=both)
    assert np.array_equal(ours, theirs)


def test_what_is_missing_or_wrong_is_said():
    with pytest.raises(zoo.ZooError, match="buckets=6; expected a multiple of four"):
        zoo.t5.create(buckets=6)
    with pytest.raises(zoo.ZooError, match="max_distance=16; expected more than 16"):
        zoo.t5.create(max_distance=16)
    sizes = {"vocab_size": 50, "width": 24, "depth": 1, "heads": 3, "head_dim": 6, "feed_forward": 40}
    model = zoo.Model(zoo.t5.create(**sizes), {})
    with pytest.raises(zoo.ZooError, match="pass decoder_input_ids, which begin with decoder_start_token_id"):
        model(BOTH[0])
    with pytest.raises(
        zoo.ZooError, match=r"\(3, 17\) and decoder_input_ids of shape \(2, 13\); expected as"
    ):
        model(BOTH[0], None, BOTH[2][:2])
