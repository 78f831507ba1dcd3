from pathlib import Path

import pytest

from tests.support import compilation
from tests.zoo.training import tiny
from zoo.training import Dataset, Recipe


@pytest.fixture
def data(tmp_path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def dataset(data) -> Dataset:
    return tiny.write(data)


@pytest.fixture
def recipe() -> Recipe:
    """Everything that a recipe can ask for, over few examples."""
    return Recipe(
        task="classification",
        dataset="mnist",
        epochs=3,
        batch_size=16,
        learning_rate=1e-2,
        warmup_steps=2,
        decay="cosine",
        clip_norm=1.0,
        average=0.9,
        shift=1,
        flip=0.5,
        label_smoothing=0.1,
    )


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory):
    """A module's runs are mostly the same program, which each run would compile for itself."""
    with compilation.kept(tmp_path_factory.mktemp("compiled")):
        yield
