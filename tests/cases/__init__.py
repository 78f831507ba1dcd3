"""Models to be proven equal to PyTorch implementations; a new one is a line in its family's file."""

import pytest

from tests.cases import classics, maxvits, resnets, segmenters, small, swins, texts, vits
from tests.cases.case import Case, images, labels
from tests.cases.texts import HEAD_CASES
from tests.cases.vits import VIT

__all__ = ["CASES", "DROPOUT_CASES", "HEAD_CASES", "VIT", "Case", "each_case", "images", "labels"]

FILES = (small, classics, resnets, swins, maxvits, segmenters, texts, vits)
CASES = {name: case for file in FILES for name, case in file.CASES.items()}
DROPOUT_CASES = {**texts.DROPOUT_CASES, **swins.DROPOUT_CASES, **maxvits.DROPOUT_CASES}

each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case.slow else []) for case in CASES.values()],
    ids=CASES,
)
