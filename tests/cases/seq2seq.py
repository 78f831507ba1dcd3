"""Cases of encoder-decoders: t5, bart."""

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
BART = {
    "vocab_size": 50,
    "max_length": 20,
    "width": 24,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_heads": 3,
    "decoder_heads": 2,
    "encoder_feed_forward": 40,
    "decoder_feed_forward": 32,
    "dropout": 0.0,
}
SCALED = {"scale_embedding": True}
SOURCE = [ids(3, 17, 50), kept(17, 9, 3, length=17)]
BOTH = [*SOURCE, ids(3, 13, 50, seed=5), kept(4, 13, 7, length=13)]
# Each text ends in the token that BART's classifier reads, and has it once before.
ENDED = SOURCE[0].clip(3)
ENDED[[0, 1, 2, 0, 1, 2], [3, 4, 1, 16, 8, 2]] = 2
ENDED[SOURCE[1] == 0] = 1
GATED = {"activation": "gated_gelu_tanh", "tied": False}
CASES = {
    "t5": Case("t5", T5, seq2seq_models.t5, BOTH, layout="transformers"),
    "umt5, encoder": Case(
        "t5",
        {**T5, "activation": "gated_gelu_tanh", "own_positions": True, "head": "encoder", "depth": 2},
        lambda: seq2seq_models.t5("UMT5EncoderModel", num_layers=2),
        SOURCE,
        layout="transformers",
        slow=True,
    ),
    "bart": Case(
        "bart",
        BART,
        partial(seq2seq_models.bart, "BartForConditionalGeneration"),
        BOTH,
        layout="transformers",
    ),
    "mbart": Case(
        "bart",
        {**BART, **SCALED, "variant": "mbart"},
        partial(seq2seq_models.bart, "MBartForConditionalGeneration", **SCALED),
        BOTH,
        layout="transformers",
        slow=True,
    ),
    "marian": Case(
        "bart",
        {**BART, **SCALED, "variant": "marian", "shared": False, "decoder_vocab_size": 60},
        partial(
            seq2seq_models.bart,
            "MarianMTModel",
            **SCALED,
            share_encoder_decoder_embeddings=False,
            decoder_vocab_size=60,
        ),
        BOTH,
        layout="transformers",
        slow=True,
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
    "bart": Case(
        "bart",
        {
            **BART,
            **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.2),
            "classifier_dropout": 0.2,
            "head": "classification",
        },
        partial(seq2seq_models.bart, "BartForSequenceClassification", rate=0.2),
        [ENDED, BOTH[1]],
        layout="transformers",
    ),
}
