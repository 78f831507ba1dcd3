"""BART and its relatives: directories that transformers writes, generation, and what their files lack."""

import jax
import numpy as np
import pytest
import torch

import zoo
from tests.cases.case import ids as numbers
from tests.cases.case import kept
from tests.cases.seq2seq import BOTH, ENDED, SOURCE
from tests.equivalence import FORWARD, difference, randomise
from tests.reference import seq2seq_models

pytestmark = pytest.mark.costly

SCALED = {"scale_embedding": True, "activation_function": "swish"}
PADDED = [ENDED, SOURCE[1]]
APART = {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 60}
slow = pytest.mark.slow
# Name of the test -> class of transformers, its options, and the inputs.
CLASSES = {
    "Bart": ("BartForConditionalGeneration", {}, BOTH),
    "MBart": ("MBartForConditionalGeneration", SCALED, PADDED),
    "Marian": ("MarianMTModel", SCALED, BOTH),
    "Pegasus": ("PegasusForConditionalGeneration", SCALED, BOTH),
    "Blenderbot": ("BlenderbotForConditionalGeneration", SCALED, BOTH),
    "BlenderbotSmall": ("BlenderbotSmallForConditionalGeneration", SCALED, BOTH),
    "Marian, two vocabularies": ("MarianMTModel", APART, BOTH),
    "BartModel": ("BartModel", {}, BOTH),
    "Bart, classes": ("BartForSequenceClassification", {}, PADDED),
    "MBart, answers": ("MBartForQuestionAnswering", {}, PADDED),
}
EACH = [
    pytest.param(*case, id=name, marks=[slow] if index > 6 else [])
    for index, (name, case) in enumerate(CLASSES.items())
]


@pytest.fixture(autouse=True)
def _doubles():
    with jax.enable_x64(True):
        yield


def made(name, options=None, *, norms=0.0, places=1.0):
    """A model of transformers with random weights; with large ones of places, its texts have many tokens."""
    twin = seq2seq_models.published(name, **{**seq2seq_models.BART, **(options or {})})
    randomise(twin, norms=norms).eval()
    with torch.no_grad():
        if name.startswith("Marian"):  # its files lack the positions
            for side in (twin.model.encoder, twin.model.decoder):
                side.embed_positions.weight.copy_(side.embed_positions.create_weight())
        for key, each in twin.named_parameters():
            if "embed_positions" in key and not name.startswith("Marian"):
                each *= places
    return twin


def outputs(found):
    names = ("logits", "start_logits", "end_logits", "last_hidden_state", "encoder_last_hidden_state")
    several = [found[name] for name in names if found.get(name) is not None]
    return several[:2] if "logits" not in found else several[:1]


@pytest.mark.parametrize(("name", "options", "inputs"), EACH)
def test_directories_of_transformers_load(name, options, inputs, tmp_path):
    twin = made(name, options)
    twin.save_pretrained(tmp_path)
    model = zoo.load(tmp_path, pretrained=True)
    with torch.no_grad():
        keywords = dict(zip(seq2seq_models.ARGUMENTS, map(torch.from_numpy, inputs), strict=False))
        theirs = outputs(twin(**keywords))
    found = [*map(np.asarray, jax.tree.leaves(jax.jit(model)(*inputs)))]
    for ours, expected in zip(found, theirs, strict=True):
        print(f"{name}: outputs differ by {difference(ours, expected.numpy()):.1e}")
        assert difference(ours, expected.numpy()) <= FORWARD


def prompts():
    return numbers(4, 17, 50).clip(3), kept(17, 9, 3, 1, length=17)


BEAMS = {"num_beams": 4, "eos_token_id": 11}
TEXTS = {
    "Bart, beams": ("Bart", BEAMS, False),
    "MBart, scan": ("MBart", {}, True),
    **{name: (name, {}, False) for name in ("Bart", "Marian", "Pegasus", "Blenderbot", "BlenderbotSmall")},
    **{f"{name}, beams": (name, BEAMS, False) for name in ("MBart", "Marian", "Pegasus")},
}


@pytest.mark.parametrize(
    ("name", "options", "scan"),
    [
        pytest.param(*case, id=name, marks=[slow] if index > 0 else [])
        for index, (name, case) in enumerate(TEXTS.items())
    ],
)
def test_tokens_are_those_of_transformers(name, options, scan, tmp_path):
    """Two hundred, of ragged prompts, and many different ones."""
    options = {"eos_token_id": None, **options}
    sizes = {"vocab_size": 300, "max_position_embeddings": 202, "encoder_layers": 2}
    twin = made(CLASSES[name][0], sizes, norms=1.0, places=8.0)
    twin.save_pretrained(tmp_path)
    ids, mask = prompts()
    expected = twin.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=200,
        do_sample=False,
        forced_eos_token_id=None,
        **options,
    ).numpy()
    model = zoo.load(tmp_path, pretrained=True, scan=scan)
    stops = {**options, "eos_token_id": options["eos_token_id"] or ()}
    found = zoo.generate(model, ids, attention_mask=mask, max_new_tokens=200, generation_config={}, **stops)
    print(f"{name}: {found.shape}, {len(np.unique(found))} distinct tokens")
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) >= 5
