from tests.zoo.training.conftest import data, dataset

__all__ = ["data", "dataset"]  # fixtures
