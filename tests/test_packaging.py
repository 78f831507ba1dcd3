"""What is built from the checkout, and the versions it is installed with."""

import hashlib
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from zoo._registry import manifest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOT_LOWEST = {"torch"}  # constraints-lowest.txt says why


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution and the wheel."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return directory


def test_the_wheel_holds_the_packages_the_manifest_and_the_bundled_weights(built):
    (wheel,) = built.glob("*.whl")
    entries = manifest.read().models.values()
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert tops == {"zoo", "converters", f"flax_zoo-{PROJECT['version']}.dist-info"}
        assert archive.read("zoo/weights_manifest.yaml") == (ROOT / "weights_manifest.yaml").read_bytes()
        bundled = [entry.weights for entry in entries if str(entry.weights).startswith("bundled")]
        assert bundled
        for weights in bundled:
            data = archive.read(f"zoo/weights/{weights.file}")
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (weights.sha256, weights.size)
        for classes in {entry.classes for entry in entries if entry.classes}:
            assert archive.read(f"zoo/classes/{classes}.txt")


def test_the_source_distribution_holds_what_builds_and_tests_it(built):
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    expected = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "weights_manifest.yaml"}
    assert expected | {"constraints.txt", "tests/test_packaging.py", "zoo/__init__.py"} <= names


def test_the_lowest_versions_are_those_that_the_project_allows():
    pinned = pins("constraints-lowest.txt")
    declared = {name: lower_bound(requirement) for name, requirement in requirements(without="dev").items()}
    assert declared == {name: pinned[name] for name in declared} | {
        name: declared[name] for name in NOT_LOWEST
    }


def test_every_dependency_is_pinned_to_a_version_that_the_project_allows():
    pinned = pins("constraints.txt")
    for name, requirement in requirements().items():
        assert requirement.specifier.contains(pinned[name]), f"{requirement} against {pinned[name]}"


def requirements(*, without: str = "") -> dict[str, Requirement]:
    """The direct dependencies and those of the extras, by canonical name."""
    texts = PROJECT["dependencies"] + [text for extra in EXTRAS if extra != without for text in EXTRAS[extra]]
    parsed = map(Requirement, texts)
    return {canonicalize_name(item.name): item for item in parsed if item.name != PROJECT["name"]}


def pins(name: str) -> dict[str, Version]:
    """The versions of a constraints file, by canonical name."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in lines}


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    return Version(bound)
