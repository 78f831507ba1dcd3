"""BART and its relatives: options that go together."""

from typing import NamedTuple


class Variant(NamedTuple):
    """Options in which the architectures differ.

    Attributes:
        offset: Number of learned positions before the first token's.
        sinusoidal: If true, positions are computed, not learned.
        norm_first: If true, layers begin with norms, and one closes them.
        normed: Input of the norm of the embeddings, in the encoder and the decoder; see `Embeddings`.
        shift: Where a decoder without texts of its own has the encoder's, the token that comes first:
            "start" for decoder_start_token_id, "last" for the text's last, its language; "" for none.
    """

    offset: int = 0
    sinusoidal: bool = False
    norm_first: bool = False
    normed: tuple[str, str] = ("", "")
    shift: str = ""


VARIANTS = {
    "bart": Variant(offset=2, normed=("sum", "sum"), shift="start"),
    "mbart": Variant(offset=2, norm_first=True, normed=("sum", "sum"), shift="last"),
    "marian": Variant(sinusoidal=True),
    "pegasus": Variant(sinusoidal=True, norm_first=True),
    "blenderbot": Variant(norm_first=True),
    "blenderbot-small": Variant(normed=("sum", "tokens")),
}
