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


LAYERS: dict[type, Handler] = {
    nn.Linear: linear,
    nn.Embedding: embedding,
}
