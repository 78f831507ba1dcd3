"""Options and forms with which XLA trains and convolves fast on a CPU."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import jax
from jax import lax
from jax.extend import core

EXPERIMENTAL = {
    # Sends dots, but not convolutions, to the YNNPACK library, whose convolution is slow in jaxlib 0.10.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    # Keeps the barriers below until operations are fused, which is what they are for.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}
# Primitives that only call a function: (parameter that holds it); inlined, so that their insides are seen.
CALLS = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
Values: TypeAlias = Sequence[Any]


def compiler_options() -> dict[str, str]:
    """Returns options for fast convolutions: `jax.jit(function, compiler_options=zoo.compiler_options())`.

    For the outermost jit. Empty where nothing is to be gained: on other backends than CPUs, and where this
    version of jaxlib does not know the option, which is experimental. Results differ by rounding only.
    """
    return dict(EXPERIMENTAL) if jax.default_backend() == "cpu" and _known() else {}


@cache
def _known() -> bool:
    try:
        jax.jit(lambda x: x + 1, compiler_options=EXPERIMENTAL).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def channels_last_convolutions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function in the form that XLA computes fastest on a CPU; unchanged on other backends.

    Each convolution's arrays are transposed to batch first, channels last, the only order that XLA's fast
    convolution takes. XLA does so by itself, but not in the body of a loop, where the kernels' gradients are
    then some thirty times slower. And what a convolution or matrix product reads is computed once, before
    it: the sum that runs through a residual network would be added up again, from its beginning, wherever
    it is read. What is inside loops and branches of `function` itself stays as it is.
    """

    def transformed(*args: Any) -> Any:
        if jax.default_backend() != "cpu":
            return function(*args)
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        results = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return transformed


def _evaluate(jaxpr: core.Jaxpr, consts: Values, args: Values) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: core.JaxprEqn, args: Values) -> Values:
    primitive, params = equation.primitive, equation.params
    if primitive.name in CALLS:
        called = params[CALLS[primitive.name]]
        return _evaluate(called.jaxpr, called.consts, args)
    if primitive in (lax.conv_general_dilated_p, lax.dot_general_p):
        args = lax.optimization_barrier(tuple(args))
    if primitive is lax.conv_general_dilated_p:
        return [_convolve(*args, **params)]
    bound = primitive.get_bind_params(params)
    # Before jax 0.10 a pair: the functions that the primitive takes as arguments, and the rest.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    results = primitive.bind(*functions, *args, **params)
    return results if primitive.multiple_results else [results]


def _convolve(
    images: jax.Array, kernel: jax.Array, *, dimension_numbers: lax.ConvDimensionNumbers, **params: Any
) -> jax.Array:
    batch, features, *space = dimension_numbers.lhs_spec
    features_out, features_in, *window = dimension_numbers.rhs_spec
    out_batch, out_features, *out_space = dimension_numbers.out_spec
    last = images.ndim - 1
    canonical = lax.ConvDimensionNumbers(
        (0, last, *range(1, last)), (last, last - 1, *range(last - 1)), (0, last, *range(1, last))
    )
    result = lax.conv_general_dilated_p.bind(
        images.transpose(batch, *space, features),
        kernel.transpose(*window, features_in, features_out),
        dimension_numbers=canonical,
        **params,
    )
    order = [out_batch, *out_space, out_features]
    transposed: jax.Array = result.transpose([order.index(axis) for axis in range(images.ndim)])
    return transposed
