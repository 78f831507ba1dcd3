"""From logits to scores."""

import numpy as np
import pytest

from zoo._inference.scores import kind, scores
from zoo._registry.entry import Entry

LOGITS = np.array([[2.0, -800.0, 0.5], [-1000.0, 3.0, 900.0]])


def made(field: str | None, logits: np.ndarray) -> np.ndarray:
    return scores(Entry("it", 0, scores=field), logits)


def test_one_of_several_classes_has_probabilities_that_add_up_to_one():
    np.testing.assert_allclose(made(None, LOGITS).sum(1), 1)
    np.testing.assert_allclose(made(None, LOGITS)[0, 0], 1 / (1 + np.exp(-1.5)))


def test_independent_classes_have_one_each():
    np.testing.assert_allclose(made("sigmoid", LOGITS)[0], [1 / (1 + np.exp(-2)), 0, 1 / (1 + np.exp(-0.5))])
    np.testing.assert_allclose(made("sigmoid", LOGITS)[1], [0, 1 / (1 + np.exp(-3)), 1])


@pytest.mark.parametrize(
    ("field", "expected"), [(None, -2.5), ("sigmoid", 1 / (1 + np.exp(2.5))), ("tanh", np.tanh(-2.5))]
)
def test_one_output_is_a_value_unless_the_entry_says_otherwise(field, expected):
    np.testing.assert_allclose(made(field, np.array([[-2.5]])), [[expected]])


def test_a_regression_of_several_values_keeps_them():
    np.testing.assert_array_equal(made("identity", LOGITS), LOGITS)
    assert kind(Entry("it", 0, scores="identity"), 3) == "identity"
