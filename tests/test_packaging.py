"""Distributions built from the checkout, and the versions it is installed with."""

import hashlib
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Collection
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from zoo._registry import compiled, manifest

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
        assert "zoo/weights_manifest.yaml" not in archive.namelist()
        content = archive.read("zoo/manifest.json")
        assert dict(compiled.read(Path("manifest.json"), content).models) == dict(manifest.read().models)
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
    expected |= {"hatch_build.py"}
    assert expected | {"constraints.txt", "tests/test_packaging.py", "zoo/__init__.py"} <= names


@pytest.fixture
def tree(built: Path, tmp_path: Path) -> Path:
    """The unpacked source distribution."""
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    return tree


def test_a_wheel_is_built_from_the_source_distribution_without_what_the_zoo_depends_on(built, tree):
    code = "import sys\nfor name in ('jax', 'flax', 'numpy', 'converters'): sys.modules[name] = None\n"
    code += "from hatchling.build import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    (wheel,) = tree.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(next(built.glob("*.whl"))) as other:
        assert archive.read("zoo/manifest.json") == other.read("zoo/manifest.json")


def test_a_wrong_manifest_stops_the_build_with_all_its_problems(tree):
    path = tree / "weights_manifest.yaml"
    path.write_text(path.read_text().replace("license: Apache-2.0", "licence: Apache-2.0", 2))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert result.returncode
    assert result.stderr.count(".licence: unknown field; did you mean 'license'?") == 2
    assert not list(tree.glob("dist/*.whl"))


def test_the_lowest_versions_are_those_that_the_project_allows():
    pinned = pins("constraints-lowest.txt")
    declared = {
        name: lower_bound(requirement) for name, requirement in requirements(without=("dev", "docs")).items()
    }
    assert declared == {name: pinned[name] for name in declared} | {
        name: declared[name] for name in NOT_LOWEST
    }


def test_every_dependency_is_pinned_to_a_version_that_the_project_allows():
    pinned = pins("constraints.txt")
    for name, requirement in requirements().items():
        assert requirement.specifier.contains(pinned[name]), f"{requirement} against {pinned[name]}"


def requirements(*, without: Collection[str] = ()) -> dict[str, Requirement]:
    """The direct dependencies and those of the extras, by canonical name."""
    texts = PROJECT["dependencies"] + [
        text for extra in EXTRAS if extra not in without for text in EXTRAS[extra]
    ]
    parsed = map(Requirement, texts)
    return {canonicalize_name(item.name): item for item in parsed if item.name != PROJECT["name"]}


def pins(name: str) -> dict[str, Version]:
    """The versions of a constraints file, by canonical name."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in lines}


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    return Version(bound)


def test_the_lowest_jax_and_flax_are_the_pinned_ones():
    """Else CI has to test at the lowest versions what it leaves out there."""
    lowest, pinned = pins("constraints-lowest.txt"), pins("constraints.txt")
    assert {name: lowest[name] for name in ("jax", "jaxlib", "flax")} == {
        name: pinned[name] for name in ("jax", "jaxlib", "flax")
    }
