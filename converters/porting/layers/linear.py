"""Dense layers, embeddings and attention."""

from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
    last,
    name_of,
    plain,
)
from converters.porting.expressions import expression, unless
from converters.porting.graph import Operation, bound


def linear(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    order = last(e.order(x), x.ndim - 1)
    return expression(
        "nn.Dense(features, use_bias=b, name=n)(x)",
        features=m.out_features,
        b=unless(m.bias is not None, False),
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def embedding(e: Emitter, op: Operation) -> Result:
    m, x = op.module, input_of(op)
    return expression(
        "nn.Embed(num_embeddings, features, name=n)(x)",
        num_embeddings=m.num_embeddings,
        features=m.embedding_dim,
        n=name_of(e, op),
        x=e.get(x),
    ), (*e.order(x), x.ndim)


def attention(e: Emitter, op: Operation) -> Any:
    """torch.nn.MultiheadAttention."""
    m = op.module
    g = bound(
        op,
        "query key value key_padding_mask=None need_weights=True attn_mask=None average_attn_weights=True is_causal=False",
    )
    q, k, v = g["query"], g["key"], g["value"]
    if g["key_padding_mask"] is not None or g["attn_mask"] is not None or m.dropout:
        raise ConversionError(f"{e.where}MultiheadAttention with a mask or dropout")
    batched = plain(3) if m.batch_first else (1, 0, 2)
    given = [e.get(q, batched)] if q is k is v else [e.get(each, batched) for each in (q, k, v)]
    made = expression(
        "nn.MultiHeadDotProductAttention(num_heads=h, use_bias=b, name=n)(x)",
        h=m.num_heads,
        b=unless(m.in_proj_bias is not None, False),
        n=name_of(e, op),
        x=0,
    )
    made.args = given
    return [(made, batched), (made, batched)]


LAYERS: dict[type, Handler] = {
    nn.Linear: linear,
    nn.Embedding: embedding,
    nn.MultiheadAttention: attention,
}
