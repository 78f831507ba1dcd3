"""Cases of encoder-decoders: t5."""

from functools import partial

from tests.cases.case import Case, ids, kept
from tests.reference import seq2seq_models

T5 = {
    "vocab_size": 50,
    "width": 24,
    "head_dim": 6,
    "feed_forward": 40,
    "depth": 1,
    "decoder_depth": 2,
    "heads": 3,
    "buckets": 8,
    "max_distance": 12,
    "dropout": 0.0,
}
SOURCE = [ids(3, 17, 50), kept(17, 9, 3, length=17)]
BOTH = [*SOURCE, ids(3, 13, 50, seed=5), kept(4, 13, 7, length=13)]
GATED = {"activation": "gated_gelu_tanh", "tied": False}
CASES = {
    "t5": Case("t5", T5, seq2seq_models.t5, BOTH, layout="transformers"),
    "umt5, encoder": Case(
        "t5",
        {**T5, "activation": "gated_gelu_tanh", "own_positions": True, "head": "encoder", "depth": 2},
        lambda: seq2seq_models.t5("UMT5EncoderModel", num_layers=2),
        SOURCE,
        layout="transformers",
    ),
}
DROPOUT_CASES = {
    "t5": Case(
        "t5",
        {**T5, **GATED, "dropout": 0.2},
        partial(seq2seq_models.t5, rate=0.2, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
        BOTH,
        layout="transformers",
    ),
}
