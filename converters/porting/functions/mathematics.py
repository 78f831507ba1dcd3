"""Functions of single numbers beyond arithmetic."""

from converters.porting.emit import Emitter, Handler, Result
from converters.porting.expressions import expression
from converters.porting.functions.elementwise import binary, unary
from converters.porting.graph import Operation, bound

# torch's name -> jax.numpy's; a trailing "_" changes the array in place, which is a new value here.
SAME = {
    "abs": "jnp.abs",
    "ceil": "jnp.ceil",
    "cos": "jnp.cos",
    "cosh": "jnp.cosh",
    "acos": "jnp.arccos",
    "asin": "jnp.arcsin",
    "atan": "jnp.arctan",
    "asinh": "jnp.arcsinh",
    "erf": "jax.scipy.special.erf",
    "exp": "jnp.exp",
    "exp2": "jnp.exp2",
    "expm1": "jnp.expm1",
    "floor": "jnp.floor",
    "lgamma": "jax.scipy.special.gammaln",
    "log": "jnp.log",
    "log10": "jnp.log10",
    "log1p": "jnp.log1p",
    "log2": "jnp.log2",
    "round": "jnp.round",
    "sign": "jnp.sign",
    "sin": "jnp.sin",
    "sinh": "jnp.sinh",
    "square": "jnp.square",
    "tan": "jnp.tan",
    "trunc": "jnp.trunc",
    "angle": "jnp.angle",
    "conj": "jnp.conj",
}


def softplus(e: Emitter, op: Operation) -> Result:
    """Writes log(1 + exp(x)); torch's is x itself where it is large, which is the same number."""
    g = bound(op, "x beta=1 threshold=20")
    x = g["x"]
    plain = g["beta"] == 1
    return expression(
        "nn.softplus(x)" if plain else "nn.softplus(b * x) / b", x=e.get(x), b=g["beta"]
    ), e.order(x)


def divide(e: Emitter, op: Operation) -> Result:
    """Writes a quotient, rounded as asked."""
    mode = op.keywords.get("rounding_mode")
    template = {None: "a / b", "floor": "a // b", "trunc": "jnp.trunc(a / b)"}[mode]
    made: Result = binary(template)(e, op)
    return made


FUNCTIONS: dict[str, Handler] = {
    **{name: unary(f"{function}(x)") for name, function in SAME.items()},
    **{f"{name}_": unary(f"{function}(x)") for name, function in SAME.items()},
    **dict.fromkeys(("__abs__", "absolute"), unary("jnp.abs(x)")),
    **dict.fromkeys(("neg", "__neg__", "negative"), unary("-x")),
    "reciprocal": unary("1 / x"),
    **dict.fromkeys(("div", "div_", "__truediv__", "__itruediv__", "true_divide", "divide"), divide),
    **dict.fromkeys(("__rtruediv__", "__rdiv__"), binary("b / a")),
    **dict.fromkeys(("floor_divide", "__floordiv__", "__ifloordiv__"), binary("a // b")),
    "__rfloordiv__": binary("b // a"),
    **dict.fromkeys(("remainder", "__mod__", "fmod"), binary("a % b")),
    **dict.fromkeys(("__isub__",), binary("a - b")),
    **dict.fromkeys(("__imul__",), binary("a * b")),
    **dict.fromkeys(("__rpow__",), binary("b ** a")),
    **dict.fromkeys(("__ipow__", "pow_"), binary("a ** b")),
    **dict.fromkeys(("atan2", "arctan2"), binary("jnp.arctan2(a, b)")),
    "softplus": softplus,
    "logsigmoid": unary("nn.log_sigmoid(x)"),
    "relu6": unary("nn.relu6(x)", "x inplace=False"),
    **dict.fromkeys(("elu", "elu_"), unary("nn.elu(x, alpha)", "x alpha=1.0 inplace=False")),
    "celu": unary("nn.celu(x, alpha)", "x alpha=1.0 inplace=False"),
    "selu": unary("nn.selu(x)", "x inplace=False"),
    "mish": unary("x * jnp.tanh(nn.softplus(x))", "x inplace=False"),
    "softsign": unary("nn.soft_sign(x)"),
    "sigmoid_": unary("nn.sigmoid(x)"),
    "tanh_": unary("jnp.tanh(x)"),
    "real": unary("x.real"),
    "imag": unary("x.imag"),
    "complex": binary("jax.lax.complex(a, b)"),
    "polar": binary("a * jnp.exp(1j * b)"),
}
