"""The stages of an architecture whose maps of features are outputs, as detectors and segmenters take them."""

import re
from collections.abc import Sequence

from zoo._errors import ZooError


def stage_indices(chosen: Sequence[int | str] | None, count: int) -> tuple[int, ...]:
    """Returns the stages in their order, counted from the stem's 0.

    Args:
        chosen: Indices, negative ones from the end, or transformers' names: "stem", "stage1", "stage2" ...;
            None is the last one.
        count: Number of stages after the stem.

    Raises:
        ZooError: there is no such stage.
    """
    found = set()
    for each in [count] if chosen is None else chosen:
        name = re.fullmatch(r"stage(\d+)", each) if isinstance(each, str) else None
        index = int(name[1]) if name else {"stem": 0}.get(each, -count - 2) if isinstance(each, str) else each
        if not -count - 1 <= index <= count:
            raise ZooError(
                f"out_indices has {each!r}; expected 0 for the stem to {count} for the last stage."
            )
        found.add(index % (count + 1))
    return tuple(sorted(found))
