import numpy as np
import pytest

from zoo.training import confusion_matrix
from zoo.training.confusion_matrix import draw_confusion


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The axes of a picture."""
    figures = []
    monkeypatch.setattr(confusion_matrix, "write", lambda figure, path: figures.append(figure))

    def drawn(counts):
        draw_confusion(counts, [f"class {index}" for index in range(len(counts))], tmp_path)
        return figures[-1].axes[0]

    return drawn


def test_a_few_classes_have_their_numbers_and_no_zeros(drawn):
    axes = drawn(np.array([[19, 1, 0], [0, 20, 0], [2, 0, 1800]]))
    assert [text.get_text() for text in axes.texts] == ["19", "1", "20", "2", "1,800"]
    assert axes.get_title() == "accuracy 99.8%\n1,839 of 1,842 examples"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(("classes", "named"), [(37, True), (100, False)])
def test_many_classes_have_a_list_of_the_largest_confusions(drawn, classes, named):
    counts = 20 * np.eye(classes, dtype=int)
    counts[3, 5], counts[8, 1] = 2, 7
    axes = drawn(counts)
    (text,) = axes.texts
    assert text.get_text().splitlines()[2:] == [
        "class 8 as class 1: 7 of 27",
        "class 3 as class 5: 2 of 22",
    ]
    assert (len(axes.get_xticks()) == classes) is named
    assert max(axes.figure.get_size_inches()) < 16
