"""The notebooks of docs/notebooks run from top to bottom.

They run in this process: a kernel for each would import everything again.
"""

import ast
import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

pytestmark = pytest.mark.costly

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
LONG = {"finetune", "generate", "port"}  # the guides call the same functions in every run
TO_RUN = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS]


@pytest.fixture(autouse=True)
def _draw_without_a_screen():
    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


@pytest.mark.parametrize("path", TO_RUN, ids=lambda path: path.stem)
def test_its_cells_run_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        if cell["cell_type"] == "code":
            shown = run("".join(cell["source"]), f"{path.name}, cell {number}", names)
            show = getattr(shown, "_repr_html_", None) or getattr(shown, "_repr_png_", shown.__repr__)
            assert show()
    assert plt.get_fignums() or not names.get("plt")
    for figure in plt.get_fignums():
        plt.figure(figure).canvas.draw()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def run(source: str, place: str, names: dict) -> object:
    """Runs a cell and returns the value of its last line, which a notebook shows."""
    tree = ast.parse(source, place)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), names)
    return last and eval(compile(ast.Expression(last.value), place, "eval"), names)
