import json
import sys

import pytest
from PIL import Image

from zoo.training import TrainingError, curves, draw_curves
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


def test_curves_are_over_epochs_and_mark_the_best_one(run, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "write", lambda figure, path: drawn.append(figure))
    record = {"model": {"name": "net"}, "recipe": {"task": "next_token"}}  # whose lowest loss is the best
    (run / "run.json").write_text(json.dumps(record))
    draw_curves(run)
    (figure,) = drawn
    loss, accuracy = figure.axes
    assert (loss.get_title(), loss.get_xlabel(), accuracy.get_title()) == ("loss", "epoch", "accuracy")
    assert [[*line.get_xdata()] for line in loss.get_lines()[:2]] == [[1, 2], [1, 2]]
    labels = [text.get_text() for text in loss.get_legend().get_texts()]
    assert labels == ["training", "validation", "best epoch: 2"]
    assert figure.get_suptitle() == "net, 2 epochs"


def test_drawing_again_replaces_the_picture(run):
    draw_curves(run)
    draw_curves(run)


def test_without_matplotlib_the_error_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TrainingError, match="pip install matplotlib"):
        draw_curves(run)
    assert not (run / "curves.png").exists()


def test_a_directory_without_metrics_has_no_curves(tmp_path):
    with pytest.raises(TrainingError, match="no metrics to draw"):
        draw_curves(tmp_path)
