"""Models to be proven equal to PyTorch implementations; a new one is a line in its family's file."""

from collections.abc import Mapping

import pytest

from tests.cases import (
    classics,
    convolutions,
    decoders,
    evas,
    latents,
    maxvits,
    mixers,
    mobiles,
    pairs,
    resnets,
    segmenters,
    seq2seq,
    small,
    speech,
    swins,
    texts,
    vits,
)
from tests.cases.case import Case, images, labels
from tests.cases.texts import HEAD_CASES as TEXT_HEAD_CASES
from tests.cases.vits import VIT

__all__ = [
    "CASES",
    "DROPOUT_CASES",
    "HEAD_CASES",
    "ONE_OF_EACH",
    "VIT",
    "Case",
    "each",
    "each_case",
    "images",
    "labels",
]

FILES = (
    small,
    classics,
    convolutions,
    mobiles,
    resnets,
    swins,
    maxvits,
    segmenters,
    latents,
    texts,
    seq2seq,
    vits,
    evas,
    mixers,
    pairs,
    speech,
    decoders,
)
CASES = {name: case for file in FILES for name, case in file.CASES.items()}
HEAD_CASES = {**TEXT_HEAD_CASES, **pairs.HEAD_CASES, **speech.HEAD_CASES}
DROPOUT_CASES = {name: case for file in FILES for name, case in getattr(file, "DROPOUT_CASES", {}).items()}


def each(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    """Returns the mark of a test that is one for each case."""
    marks = {True: [pytest.mark.slow], False: []}
    values = [pytest.param(case, marks=marks[case.slow]) for case in cases.values()]
    return pytest.mark.parametrize("case", values, ids=cases)


# The first case of each family that is fast enough; a family that is new is here by itself.
ONE_OF_EACH = {
    **{case.family: name for name, case in reversed(CASES.items()) if not case.slow},
    "resnet": "resnet, of the Hub, uneven",
}

each_case = each(CASES)
