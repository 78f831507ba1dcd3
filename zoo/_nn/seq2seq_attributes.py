"""Attributes of config.json that the encoder-decoders with fairseq's names share."""

# Attribute -> keyword of `create`. In files of some models the shorter names stand for the encoder's.
KEYWORDS = {
    "vocab_size": "vocab_size",
    "d_model": "width",
    "hidden_size": "width",
    "encoder_layers": "encoder_layers",
    "num_hidden_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "encoder_attention_heads": "encoder_heads",
    "num_attention_heads": "encoder_heads",
    "decoder_attention_heads": "decoder_heads",
    "encoder_ffn_dim": "encoder_feed_forward",
    "decoder_ffn_dim": "decoder_feed_forward",
    "activation_function": "activation",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "pad_token_id": "pad_token_id",
    "eos_token_id": "eos_token_id",
    "decoder_start_token_id": "decoder_start_token_id",
}
