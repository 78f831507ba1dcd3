"""Which parameters are tested in this run."""

from collections.abc import Iterable

import pytest


def slow_but(few: Iterable[str], names: Iterable[str]) -> list:
    """Returns the names as parameters, of which `make test` takes a few and `make test-all` the others."""
    few = set(few)
    return [pytest.param(name, marks=[] if name in few else [pytest.mark.slow]) for name in names]


def selected(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """Returns the values of the parameter that this run's tests with the requested fixture have."""
    items = [item for item in request.session.items if request.fixturename in item.fixturenames]
    values = [item.callspec.params.get(parameter) for item in items if hasattr(item, "callspec")]
    return list(dict.fromkeys(value for value in values if value is not None))
