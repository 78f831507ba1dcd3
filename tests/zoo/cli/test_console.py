"""How tables look to people and to programs."""

import io
import json
import sys

import numpy as np
import pytest

from zoo.cli import console

HASH = "1f" * 32
COLUMNS = ("name", "bytes", "score", "metrics", "path")
ROWS = [
    (
        "vit_base",
        console.size(346284714),
        np.float32(0.9018),
        {"top1": 0.69758, "top5": 0.9},
        f"a/{HASH}.pth",
    ),
    ("größer", console.size(None), 0.5, {}, "with\ttab and\nline"),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def drawn(monkeypatch):
    """Draws a table on a terminal of a width, and returns its lines."""

    def draw(width, columns, rows, **options):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "stdout", Terminal())
        console.table(columns, rows, **options)
        return [line.rstrip() for line in sys.stdout.getvalue().splitlines()]

    return draw


def test_programs_get_whole_cells_between_tabs(capsys):
    console.table(COLUMNS, ROWS)
    first, second = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert first == ["vit_base", "346284714", "0.9018", "top1 0.69758, top5 0.9", f"a/{HASH}.pth"]
    assert second == ["größer", "-", "0.5", "-", "with\\ttab and\\nline"]


def test_json_is_a_list_of_objects(capsys):
    console.table(COLUMNS, ROWS, json=True)
    first, second = json.loads(capsys.readouterr().out)
    assert first["bytes"], first["score"] == (346284714, 0.9018)
    assert first["metrics"] == {"top1": 0.69758, "top5": 0.9}
    assert second == dict(zip(COLUMNS, ("größer", None, 0.5, {}, "with\ttab and\nline"), strict=True))
    console.table(("loss",), [], json=True)
    assert json.loads(capsys.readouterr().out) == []
    console.record({"loss": float("nan"), "shape": (1, 2)}, json=True)
    assert json.loads(capsys.readouterr().out) == {"loss": None, "shape": [1, 2]}


def test_rows_are_printed_as_they_come(capsys):
    def rows():
        yield ("a", 1)
        assert capsys.readouterr().out == "a\t1\n"
        yield ("b", 2)

    console.table(("name", "number"), rows())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_wraps_and_never_cuts(drawn, width):
    lines = drawn(width, COLUMNS, ROWS)
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    assert "…" not in text
    assert "346MB" in text
    assert "0.9018" in text
    cells = [line[lines[0].index("path") :].strip() for line in lines[2:]]
    assert f"a/{HASH}.pth" in "".join(cells)
    assert r"with\ttaband\nline" in "".join("".join(cells).split())


def test_spare_columns_are_for_wide_terminals(drawn):
    rows = [("vit_base_patch16_224", "vit", 1)]
    for width, shown in ((60, ["name", "family", "number"]), (30, ["name", "number"])):
        assert drawn(width, ("name", "family", "number"), rows, spare=["family"])[0].split() == shown


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (999, "999"),
        (1000, "1.00 K"),
        (269722, "270 K"),
        (999600, "1.00 M"),
        (86567656, "86.6 M"),
        (1557611200, "1.56 B"),
    ],
)
def test_people_get_three_digits_of_large_numbers(number, text):
    assert console.count(number)[:2] == (number, text)
