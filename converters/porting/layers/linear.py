"""Dense layers, embeddings and attention."""

from torch import nn

from converters.porting.emit import (
    Emitter,
    Handler,
    Result,
    input_of,
    last,
    name_of,
)
from converters.porting.expressions import DROP, expression
from converters.porting.graph import Operation


def linear(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.Linear."""
    m, x = op.module, input_of(op)
    order = last(e.order(x), x.ndim - 1)
    return expression(
        "nn.Dense(features, use_bias=b, name=n)(x)",
        features=m.out_features,
        b=DROP if m.bias is not None else False,
        n=name_of(e, op),
        x=e.get(x, order),
    ), order


def embedding(e: Emitter, op: Operation) -> Result:
    """Writes torch.nn.Embedding; a row for padding is a row like the others."""
    m, x = op.module, input_of(op)
    return expression(
        "nn.Embed(num_embeddings, features, name=n)(x)",
        num_embeddings=m.weight.shape[0],  # a tied weight may have other rows than the layer says
        features=m.embedding_dim,
        n=name_of(e, op),
        x=e.get(x),
    ), (*e.order(x), x.ndim)


LAYERS: dict[type, Handler] = {
    nn.Linear: linear,
    nn.Embedding: embedding,
}
