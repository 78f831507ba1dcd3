"""Classes of pictures that a caller names: zero-shot classification."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo._errors import ZooError
from zoo._inference import picture_batches, vectors
from zoo._inference.predict import Best, checked, gathered
from zoo._inference.purpose import compares, purpose
from zoo._inference.scores import SCORES
from zoo._inference.subject import Subject, subject
from zoo._loading.resolve import Name
from zoo._model import Model

if TYPE_CHECKING:
    from zoo._preprocessing.images import Pictures

TEMPLATE = "This is a photo of {}."  # transformers' own
PLACE = "{}"


def classify(
    model: Name | Model,
    images: "Pictures",
    labels: Sequence[str],
    *,
    template: str = TEMPLATE,
    top: int | None = None,
    batch_size: int | None = None,
) -> list[Best]:
    """Finds which of your labels fit pictures: for each a list of (label, probability), the best first.

    A model compares pictures with texts, as CLIP and SigLIP do. CLIP's probabilities of a picture add up to
    1; SigLIP's are of each label by itself, and none may fit.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        images: Pictures, as for `predict`; one alone is a list of one.
        labels: Labels, such as ["a cat", "a dog"].
        template: Text in which each label takes the place of {}, such as "a photo of {}".
        top: Number of labels for each picture; by default all.
        batch_size: Pictures at a time; by default as many as is fast, in bounded memory.

    Raises:
        ZooError: the model takes no texts or no pictures; no labels, one twice, or too long a text; or
            pictures cannot be read, which are all named.
    """
    return gathered(
        lambda refused: classifications(
            subject(model), images, labels, template=template, top=top, batch_size=batch_size, refused=refused
        )
    )


def classifications(
    of: Subject,
    images: Any,
    labels: Sequence[str],
    *,
    template: str = TEMPLATE,
    top: int | None = None,
    batch_size: int | None = None,
    refused: picture_batches.Refused,
) -> Iterator[tuple[Any, Best]]:
    """Yields each picture with the labels that fit it, as they come.

    Args:
        of: The model.
        images, labels, template, top, batch_size: As for `classify`.
        refused: Called with each picture that cannot be read, which is then left out, and why.
    """
    checked(top=top, batch_size=batch_size)
    check_compares(of)
    labels = labels if isinstance(labels, str) else [*labels]
    texts = _texts(labels, template)
    model = of.load()
    words = vectors.of_texts(of, model, texts, cut=False).astype(np.float64)
    scale, bias = (np.asarray(each, np.float64) for each in model(method="temperature"))
    found = vectors.of_pictures(of, lambda: model, images, batch_size=batch_size, refused=refused)
    for picture, vector in found:
        logits = scale * (words @ vector.astype(np.float64)) + bias
        scores = SCORES[model.module.scores](logits)
        order = np.argsort(-scores, kind="stable")[:top]
        yield picture, [(labels[index], float(scores[index])) for index in order]


def check_compares(of: Subject) -> None:
    """Checks that a model compares pictures with texts.

    Raises:
        ZooError: it does not.
    """
    if not compares(of.entry):
        raise ZooError(
            f"{of.entry.name!r} does not compare pictures with texts of yours, as CLIP does; "
            f"{purpose(of.entry)}."
        )


def _texts(labels: Sequence[str], template: str) -> list[str]:
    """Returns the labels in the template, checked."""
    if isinstance(labels, str):
        raise ZooError(f"labels={labels!r} is one text; expected several, such as {[labels, 'a dog']}.")
    if not labels:
        raise ZooError("labels= is empty; give the labels to choose from, such as ['a cat', 'a dog'].")
    wrong = [each for each in labels if not isinstance(each, str) or not each.strip()]
    if wrong:
        raise ZooError(f"labels= has {wrong[0]!r}, which is no text.")
    twice = [each for index, each in enumerate(labels) if each in labels[:index]]
    if twice:
        raise ZooError(f"labels= has {twice[0]!r} twice, which would share its probability; leave one out.")
    if PLACE not in template:
        raise ZooError(f"template={template!r} has no {PLACE} for the label, as 'a photo of {PLACE}'.")
    return [template.replace(PLACE, each) for each in labels]
