"""Lines of code of the vision families beside torchvision's and timm's files of them, as a table.

    python -m scripts.architecture_lines

Lines without comments, docstrings and blanks, and without tables of published weights. A file of the others
may have networks that the zoo lacks. Pairs are the names pairs and rules by which files of each are read.
"""

import ast
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from zoo._registry import families


class Files(NamedTuple):
    """Files of torchvision and of timm, without their ending."""

    torchvision: tuple[str, ...] = ()
    timm: tuple[str, ...] = ()


FILES: Mapping[str, Files] = {
    "alexnet": Files(("alexnet",)),
    "convnext": Files(("convnext",), ("convnext",)),
    "densenet": Files(("densenet",), ("densenet",)),
    "efficientnet": Files(
        ("efficientnet",), ("efficientnet", "_efficientnet_blocks", "_efficientnet_builder")
    ),
    "googlenet": Files(("googlenet",)),
    "inception": Files(("inception",), ("inception_v3",)),
    "maxvit": Files(("maxvit",), ("maxxvit",)),
    "mnasnet": Files(("mnasnet",)),
    "mobilenet": Files(("mobilenetv2", "mobilenetv3"), ("mobilenetv3",)),
    "regnet": Files(("regnet",), ("regnet",)),
    "resnet": Files(("resnet",), ("resnet",)),
    "segmentation": Files(tuple(f"segmentation/{name}" for name in ("_utils", "fcn", "deeplabv3", "lraspp"))),
    "shufflenet": Files(("shufflenetv2",)),
    "squeezenet": Files(("squeezenet",)),
    "swin": Files(("swin_transformer",), ("swin_transformer", "swin_transformer_v2")),
    "vgg": Files(("vgg",), ("vgg",)),
    "vit": Files(("vision_transformer",), ("vision_transformer",)),
}
WEIGHTS = ("WeightsEnum", "default_cfgs", "_cfg")  # a base, a table, and what makes its rows


def lines(source: str) -> int:
    """Returns the number of lines with code, tables of weights left out."""
    tree = ast.parse(source)
    texts = enumerate(map(str.strip, source.splitlines()), 1)
    written = {number for number, text in texts if text and not text.startswith("#")}
    bodies = [getattr(node, "body", None) for node in ast.walk(tree)]
    first = [body[0] for body in bodies if isinstance(body, list) and body]
    left_out = [*filter(_is_text, first), *filter(_is_of_weights, tree.body)]
    return len(written - {line for node in left_out for line in range(node.lineno, node.end_lineno + 1)})


def _is_of_weights(node: ast.stmt) -> bool:
    names = [getattr(each, "id", "") for each in getattr(node, "bases", getattr(node, "targets", ()))]
    return getattr(node, "name", "") in WEIGHTS or any(name in WEIGHTS for name in names)


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def of_family(name: str) -> int:
    """Returns the lines of a family of the zoo: of its file, or of those of its folder."""
    path = Path(inspect.getfile(families.named(name).create))
    files = path.parent.glob("*.py") if path.parent.name == name else [path]
    return sum(lines(file.read_text()) for file in files)


def of_library(package: str, files: Sequence[str]) -> str:
    """Returns the lines of files of a library; empty where it has none."""
    (root,) = importlib.util.find_spec(package).submodule_search_locations
    counts = [lines(Path(root, "models", f"{name}.py").read_text()) for name in files]
    return f"{sum(counts):,}" if counts else ""


def main() -> None:
    """Prints the table."""
    print("| family | lines | torchvision's | timm's | pairs for torchvision | for timm |")
    print("| ------ | ----: | ------------: | -----: | --------------------: | -------: |")
    for name, files in FILES.items():
        names = families.named(name).torch_names
        pairs = [
            max((len(names[key]) for key in names if key.startswith(of)), default="")
            for of in ("torchvision", "timm")
        ]
        cells = [
            of_library("torchvision", files.torchvision),
            of_library("timm", files.timm),
            *map(str, pairs),
        ]
        print(f"| {name} | {of_family(name):,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
