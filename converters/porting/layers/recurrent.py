"""Recurrent layers and their cells."""

import ast
from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Order, name_of, plain
from converters.porting.expressions import DROP, expression, only, unless
from converters.porting.functions.modes import mode
from converters.porting.graph import Operation, Value, values
from converters.porting.methods import Method

CELLS = {
    "LSTM": "nn.OptimizedLSTMCell(features)",
    "GRU": "nn.GRUCell(features)",
    "RNN_TANH": "nn.SimpleCell(features)",
    "RNN_RELU": "nn.SimpleCell(features, activation_fn=nn.relu)",
}


TYPED = ", param_dtype=x.dtype)"


def is_used(e: Emitter, value: Value) -> bool:
    """Returns whether anything in the scope, or what it returns, uses a value."""
    scope = e.code.scope
    given = [
        (each.arguments, each.keywords, each.scope.inputs if each.scope else ()) for each in scope.operations
    ]
    return any(each is value for each in values((given, scope.output, scope.trained_output)))


def recurrent(e: Emitter, op: Operation) -> Any:
    """Writes torch.nn.LSTM, GRU or RNN: as Flax's, or where that lacks something as a module in the file."""
    m, x = op.module, op.arguments[0]
    if not isinstance(x, Value) or x.ndim != 3:
        raise ConversionError(
            f"{e.where}{m.mode} of a packed sequence, or without a batch: give it (batch, length, features)."
        )
    states = [*values((op.arguments[1:], op.keywords))]
    order: Order = plain(3) if m.batch_first else (1, 0, 2)
    _, *finals = values(op.output)
    simple = m.num_layers == 1 and not m.bidirectional and m.bias and not m.proj_size
    if CELLS[m.mode].partition("(")[0] in e.dialect.unlike:
        simple = False
    if isinstance(e.code.scope.module, Method):  # whose layers are made before they know their inputs
        simple = False
    if simple and not states and not any(is_used(e, each) for each in finals):
        # The first state has the type of the parameters.
        made = expression(
            f"nn.RNN({CELLS[m.mode].replace(')', TYPED)}, name=n)(x)"
            if not e.dialect.declares
            else f"nn.RNN({CELLS[m.mode]}, name=n)(x)",
            features=m.hidden_size,
            n=name_of(e, op),
            x=e.get(x, order),
        )
        return [(made, order)] * (1 + len(finals))
    trains = mode(e, op) if m.dropout else "False"
    if trains == "True":
        raise ConversionError(f"{e.where}{m.mode} drops numbers in eval mode, too.")
    made = expression(
        "Recurrent(mode, size, num_layers=l, bidirectional=b, use_bias=u, proj_size=p, dropout=d, name=n)(x)",
        mode=m.mode,
        size=m.hidden_size,
        l=unless(m.num_layers == 1, m.num_layers),
        b=only(m.bidirectional),
        u=DROP if m.bias else False,
        p=only(m.proj_size),
        d=unless(trains == "False", m.dropout),
        n=name_of(e, op),
        x=e.get(x, order),
    )
    assert isinstance(made, ast.Call)
    made.args += [e.plain(each) for each in states]
    if trains == "train":
        e.code.uses_train = True
        made.keywords.append(ast.keyword(arg="train", value=expression("train")))
    return [(made, [order, *(plain(3) for _ in finals)])]


def cell(e: Emitter, op: Operation) -> Any:
    """Writes one step."""
    m, x = op.module, op.arguments[0]
    if not m.bias or x.ndim != 2:
        raise ConversionError(f"{e.where}{op.function} without a bias, or without a batch")
    state = [*values((op.arguments[1:], op.keywords))]
    zeros = expression("jnp.zeros((n, h))", n=expression("len(x)", x=e.get(x)), h=m.hidden_size)
    parts = [e.plain(each) for each in state] or [zeros, zeros]
    kind = {"LSTMCell": "LSTM", "GRUCell": "GRU"}.get(
        op.function, f"RNN_{getattr(m, 'nonlinearity', '').upper()}"
    )
    template = CELLS[kind].replace(")", ", name=n)")
    given = {"features": m.hidden_size, "n": name_of(e, op), "x": e.plain(x), "h": parts[0]}
    if kind != "LSTM":
        return expression(f"{template}(h, x)[0]", **given), plain(2)
    made = expression(f"{template}((c, h), x)[0][::-1]", c=parts[1], **given)
    return [(made, [plain(2), plain(2)])]


LAYERS: dict[type, Handler] = {
    **dict.fromkeys((nn.LSTM, nn.GRU, nn.RNN), recurrent),
    **dict.fromkeys((nn.LSTMCell, nn.GRUCell, nn.RNNCell), cell),
}
