"""The stages of an architecture whose maps of features are outputs, as detectors and segmenters take them."""

from collections.abc import Sequence

from zoo._errors import ZooError


def stage_indices(indices: Sequence[int] | None, names: Sequence[str] | None, count: int) -> tuple[int, ...]:
    """Returns the stages in their order, counted from the stem's 0; the last one where none are given.

    Args:
        indices: Indices, negative ones from the end.
        names: The same as transformers' names: "stem", "stage1", "stage2" ...
        count: Number of stages after the stem.

    Raises:
        ZooError: there is no such stage, or indices and names differ.
    """
    known = ["stem", *(f"stage{index}" for index in range(1, count + 1))]
    wrong: list[int | str] = [index for index in indices or () if not -count - 1 <= index <= count]
    wrong += [name for name in names or () if name not in known]
    if wrong:
        raise ZooError(
            f"no stage {wrong[0]!r}; out_indices are 0 for the stem to {count} for the last one, "
            f"out_features {known[0]!r} to {known[-1]!r}."
        )
    by_index = {index % (count + 1) for index in indices or ()}
    by_name = {known.index(name) for name in names or ()}
    if indices and names and by_index != by_name:
        raise ZooError(f"out_indices={indices} and out_features={names} differ; give one of them.")
    return tuple(sorted(by_index or by_name or {count}))
