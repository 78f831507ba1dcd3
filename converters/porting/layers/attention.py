"""torch.nn.MultiheadAttention."""

import ast
from typing import Any

from torch import nn

from converters.errors import ConversionError
from converters.porting.emit import Emitter, Handler, Order, name_of, plain, size_of
from converters.porting.expressions import DROP, expression, only, unless
from converters.porting.functions.modes import OPPOSITE, mode
from converters.porting.graph import Operation, Value, bound
from converters.porting.layers.recurrent import is_used

ARGUMENTS = (
    "query key value key_padding_mask=None need_weights=True attn_mask=None average_attn_weights=True "
    "is_causal=False"
)


def attention(e: Emitter, op: Operation) -> Any:
    """Writes it as Flax's, whose masks say where to look; torch's say where not to."""
    m, g = op.module, bound(op, ARGUMENTS)
    q, k, v = g["query"], g["key"], g["value"]
    if m.bias_k is not None or m.add_zero_attn or q.ndim != 3:
        raise ConversionError(
            f"{e.where}MultiheadAttention with add_bias_kv, add_zero_attn or without a batch"
        )
    outputs = [each for each in op.output if isinstance(each, Value)]
    if any(is_used(e, each) for each in outputs[1:]):
        raise ConversionError(
            f"{e.where}MultiheadAttention returns its weights, which Flax's does not give: need_weights=False"
        )
    batched: Order = plain(3) if m.batch_first else (1, 0, 2)
    masks, biases = _masks(e, m, g)
    trains = mode(e, op) if m.dropout else "False"
    drops = trains != "False"
    e.code.uses_train |= trains == "train"
    made = expression(
        "nn.MultiHeadDotProductAttention(num_heads=h, use_bias=b, dropout_rate=r, broadcast_dropout=a, "
        "attention_fn=f, name=n)(mask=m, deterministic=d)",
        h=m.num_heads,
        b=DROP if m.in_proj_bias is not None else False,
        r=unless(not drops, m.dropout),
        a=unless(not drops, value=False),  # torch drops other weights for each example and head
        f=unless(
            not biases, expression("partial(nn.dot_product_attention, bias=b)", b=_all("+", biases) or 0)
        ),
        n=name_of(e, op),
        m=only(_all("&", masks)),
        d=expression(OPPOSITE[trains]) if drops else DROP,
    )
    assert isinstance(made, ast.Call)
    made.args = [e.get(q, batched)] if q is k is v else [e.get(each, batched) for each in (q, k, v)]
    return [(made, batched)] * len(outputs)


def _masks(e: Emitter, m: Any, g: dict[str, Any]) -> tuple[list[ast.expr], list[ast.expr]]:
    """Returns masks of truth values, and those that are added, as they broadcast to (batch, heads, q, k)."""
    masks, biases = [], []
    for name, template in (("key_padding_mask", "x[:, None, None, :]"), ("attn_mask", "x")):
        mask = g[name]
        if mask is None:
            continue
        found = expression(template, x=e.plain(mask))
        if name == "attn_mask" and mask.ndim == 3:
            found = expression("x.reshape(s)", x=found, s=(-1, m.num_heads, *map(e.size, _last_sizes(mask))))
        if mask.dtype == "bool":
            masks.append(expression("~x", x=found))
        else:
            biases.append(found)
    return masks, biases


def _last_sizes(mask: Value) -> list[Any]:
    return [size_of(mask, axis) for axis in (1, 2)]


def _all(symbol: str, parts: list[ast.expr]) -> ast.expr | None:
    """Returns parts joined by an operator."""
    found = None
    for each in parts:
        found = each if found is None else expression(f"a {symbol} b", a=found, b=each)
    return found


LAYERS: dict[type, Handler] = {nn.MultiheadAttention: attention}
