"""Places of the data files that the package carries."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def manifest_path() -> Path:
    """Returns where the manifest is: compiled in an installed package, as YAML above it in a checkout."""
    compiled = PACKAGE / "manifest.json"
    return compiled if compiled.exists() else PACKAGE.parent / "weights_manifest.yaml"


def classes_path(classes: str) -> Path:
    """Returns the file with the class names of a data set."""
    return PACKAGE / "classes" / f"{classes}.txt"


def weights_path(file: str) -> Path:
    """Returns where a bundled file of weights is, or one that lies with them."""
    return PACKAGE / "weights" / file
