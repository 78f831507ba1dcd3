"""Names of layers that differ between the instances of a class."""

import ast
from collections.abc import Sequence

from converters.errors import ConversionError
from converters.porting.writing.columns import MISSING, Choices, Column
from converters.porting.writing.trees import digits_apart


def named(chosen: Choices, columns: Sequence[Column]) -> None:
    """Writes names of layers that differ between instances."""
    different = [each for each in columns if each.varies]
    if not different:
        return
    if _count(chosen, columns, different):
        chosen.counted = True
        return
    for column in different:
        _choose(chosen, column)


def _count(chosen: Choices, columns: Sequence[Column], different: Sequence[Column]) -> bool:
    """Numbers layers in the order in which they are called, if that is what their names do."""
    start = digits_apart(different[0].known[0])[0].partition("#")[0]
    family = [each for each in columns if digits_apart(each.known[0])[0].startswith(f"{start}#")]
    if not {*map(id, different)} <= {*map(id, family)} or any(each.looped for each in family):
        return False
    for at in range(len(chosen.body.codes)):
        found = [each.values[at] for each in family if each.values[at] is not MISSING]
        numbers = [digits_apart(each)[1][0] for each in found]
        if numbers != [*range(len(numbers))]:
            return False
    rests = [{each[len(start) :].lstrip("0123456789") for each in column.known} for column in family]
    if any(len(each) > 1 for each in rests):
        return False
    for column, rest in zip(family, rests, strict=True):
        made = ast.parse(f'f"{start}{{next(index)}}{rest.pop()}"', mode="eval").body
        column.become(made)
    return True


def _choose(chosen: Choices, column: Column) -> None:
    """Writes one name where a condition holds, and the other where not."""
    for has, flag in chosen.flags.items():
        pairs = [*zip(column.values, has, strict=True)]
        yes, no = ({v for v, h in pairs if h is wanted and v is not MISSING} for wanted in (True, False))
        if len(yes) == len(no) == 1:
            made = ast.parse(f"{yes.pop()!r} if {flag} else {no.pop()!r}", mode="eval").body
            column.become(made)
            return
    raise ConversionError(f"names {column.known!r}")
