from scripts import architecture_lines as script
from zoo._registry import families

SOURCE = '''"""Docstring."""

import math  # a comment


# Another.
class Weights_(WeightsEnum):
    FIRST = 1


def area(
    radius,
):
    """More
    lines."""
    if radius:

        return math.pi * radius**2


default_cfgs = {
    "a": 1,
}
'''


def test_code_counts_without_prose_and_weights():
    assert script.lines(SOURCE) == 6


def test_the_table_has_families_of_the_zoo():
    assert {*script.FILES} <= {*families.names()}
