"""Classes of pictures and texts, with probabilities."""

from collections.abc import Callable, Iterable, Iterator
from itertools import tee
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from zoo._errors import ZooError
from zoo._inference import picture_batches, text_batches
from zoo._inference.purpose import classifies_texts, encodes_pictures, labels_pixels, purpose
from zoo._inference.scores import scores
from zoo._inference.subject import Subject, subject
from zoo._inference.texts import checked_texts, known_count
from zoo._loading.resolve import Name
from zoo._model import Model
from zoo._preprocessing.preprocess import preprocessor_of
from zoo._preprocessing.text import Text
from zoo._registry import families
from zoo._registry.entry import Entry

if TYPE_CHECKING:
    from zoo._preprocessing.images import Pictures

T = TypeVar("T")
Best: TypeAlias = list[tuple[str, float]]  # the likeliest classes of one input, the first one first
SHOWN = 10  # pictures that cannot be read, in an error


def predict(
    model: Name | Model,
    inputs: "Pictures | Text | Iterable[Any]",
    *,
    top: int = 5,
    batch_size: int | None = None,
) -> list[Best]:
    """Classifies pictures or texts: for each input a list of (label, score), the best first.

    Scores are probabilities; where several classes can be right at once, each has one of its own. Of a model
    with one output, such as a regression or a cross-encoder, it is the value. Labels are numbers as text
    where nothing names the classes.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        inputs: Pictures: names of files, Pillow images or arrays (height, width, channels) of uint8 or of
            floats in [0, 1]. Or texts, or pairs of texts as tuples. One alone is a list of one.
        top: Number of classes for each input.
        batch_size: Inputs at a time; by default as many as is fast, in bounded memory.

    Raises:
        ZooError: the model is no classifier, nothing says how pictures become its input, or inputs cannot be
            read, which are all named.
    """
    return gathered(
        lambda refused: predictions(subject(model), inputs, top=top, batch_size=batch_size, refused=refused)
    )


def gathered(found: Callable[[picture_batches.Refused], Iterable[tuple[Any, T]]]) -> list[T]:
    """Returns the results of all inputs.

    Args:
        found: Yields inputs and their results; calls its argument with each that cannot be read.

    Raises:
        ZooError: some cannot be read, which are all named.
    """
    failed: list[str] = []

    def refused(picture: Any, error: Exception) -> None:
        failed.append(str(error))

    results = [best for _, best in found(refused)]
    if failed:
        more = f"\n  and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        count = len(failed) + len(results)
        lines = failed[0] if count == 1 else "".join(f"\n  {each}" for each in failed[:SHOWN])
        raise ZooError(lines if count == 1 else f"{len(failed)} of {count} inputs:{lines}{more}")
    return results


def predictions(
    of: Subject,
    inputs: Any,
    *,
    top: int = 5,
    batch_size: int | None = None,
    refused: picture_batches.Refused,
) -> Iterator[tuple[Any, Best]]:
    """Yields each input with its likeliest classes, as they come.

    Args:
        of: The model.
        inputs, top, batch_size: As for `predict`.
        refused: Called with each picture that cannot be read, which is then left out, and why.
    """
    checked(top=top, batch_size=batch_size)
    ways: Callable[..., Iterator[tuple[Any, np.ndarray]]] = (
        _of_texts if of.entry.takes_tokens else _of_pictures
    )
    for given, logits in ways(of, inputs, batch_size, refused):
        yield given, _best(of.entry, logits, top)


def checked(**counts: int | None) -> None:
    """Checks that numbers are positive, where they are given.

    Raises:
        ZooError: one is not.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ZooError(f"{name}={value}; expected 1 or more.")


def _best(entry: Entry, logits: np.ndarray, top: int) -> Best:
    found = scores(entry, logits)
    names = entry.class_names or [str(index) for index in range(len(found))]
    if len(names) != len(found):
        raise ZooError(
            f"{entry.name!r} has labels for {len(names)} classes and gives {len(found)} logits; save it with "
            "a label for each, zoo.save(..., labels=...)."
        )
    return [(names[index], float(found[index])) for index in np.argsort(-found, kind="stable")[:top]]


def _of_texts(
    of: Subject, inputs: Any, batch_size: int | None, refused: picture_batches.Refused
) -> Iterator[tuple[Text, np.ndarray]]:
    if not classifies_texts(of.entry):
        raise ZooError(f"{of.entry.name!r} does not classify texts; {purpose(of.entry)}.")
    model = of.load()
    reader = text_batches.text_reader(of, model, batch_size)
    # The second is as far ahead as a window of texts.
    given, read = tee(checked_texts(of.entry, inputs))
    logits = text_batches.outputs(
        model, "logits", read, reader, label="predicting", total=known_count(inputs)
    )
    yield from zip(given, logits, strict=True)


def _of_pictures(
    of: Subject, inputs: Any, batch_size: int | None, refused: picture_batches.Refused
) -> Iterator[tuple[Any, np.ndarray]]:
    from zoo._preprocessing import images

    family = families.named(of.entry.family)
    classifies = of.entry.config.get("num_classes") != 0 and not (family and family.sample)
    if not classifies or labels_pixels(of.entry) or encodes_pictures(of.entry):
        raise ZooError(f"{of.entry.name!r} does not classify pictures; {purpose(of.entry)}.")
    yield from picture_batches.logits(
        of.load,
        images.several(inputs),
        preprocessor_of(of.entry, of.files),
        batch_size=batch_size,
        refused=refused,
    )
