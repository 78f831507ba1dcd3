import sys

import pytest
from PIL import Image

from zoo.training import TrainingError, draw_curves
from zoo.training.metrics import append_rows


@pytest.fixture
def run(tmp_path):
    for epoch in (1, 2):
        rows = [{"epoch": epoch, "step": 100 * epoch, "loss": 1 / epoch, "accuracy": 1 - 1 / epoch}]
        summary = {"epoch": epoch, "step": 100 * epoch, "validation_loss": 2 / epoch, "seconds": 1.0}
        append_rows(tmp_path / "metrics.jsonl", [*rows, summary])
    append_rows(tmp_path / "metrics.jsonl", [{"mnist_test_loss": 0.1}])
    return tmp_path


def test_curves_are_a_picture_with_lines(run):
    assert draw_curves(run) == run / "curves.png"
    picture = Image.open(run / "curves.png")
    assert picture.format == "PNG"
    assert picture.width > 2 * picture.height * 0.9
    assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_drawing_again_replaces_the_picture(run):
    draw_curves(run)
    draw_curves(run)


def test_without_matplotlib_the_error_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TrainingError, match=r"install 'flax-zoo\[plot\]'"):
        draw_curves(run)
    assert not (run / "curves.png").exists()


def test_a_directory_without_metrics_has_no_curves(tmp_path):
    with pytest.raises(TrainingError, match="no metrics to draw"):
        draw_curves(tmp_path)
