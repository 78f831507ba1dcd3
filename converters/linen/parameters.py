"""Parameters of a linen module by their shapes alone.

Most of what a trace of `init` costs are initialisers, of which the shapes are known before they run.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import flax.linen as nn

_zeros = nn.initializers.zeros
_JAX = nn.initializers.normal().__module__  # where JAX defines its own initialisers


def shapes_only() -> AbstractContextManager[None]:
    """Makes zeros where a module asks JAX's own initialisers for parameters, in a trace for shapes alone.

    Other initialisers run: what they make, they alone know.
    """
    return nn.intercept_methods(_intercept)


def _intercept(
    call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    own = vars(context.module)
    if "param" in own:  # a method of the layer that another one calls
        return call(*args, **kwargs)
    own["param"] = partial(_param, context.module.param)
    try:
        return call(*args, **kwargs)
    finally:
        del own["param"]


def _param(
    param: Callable[..., Any], name: str, init_fn: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    return param(name, _cheap(init_fn), *args, **kwargs)


def _cheap(init: Callable[..., Any]) -> Callable[..., Any]:
    """Returns an initialiser for the same shapes and dtypes."""
    if getattr(init, "__module__", None) != _JAX or not init.__qualname__.endswith(".<locals>.init"):
        return init
    default, *_ = init.__defaults__ or (None,)  # the dtype; then where the numbers are

    def zeros(key: Any, shape: Any, dtype: Any = default) -> Any:
        return _zeros(key, shape, dtype)

    return zeros
