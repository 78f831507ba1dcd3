"""The errors of zoo; the command line catches ZooError and converters.ConverterError."""


class ZooError(Exception):
    """Anything zoo refuses to do."""


def needs(what: str, library: str) -> str:
    """Returns the sentence about an optional library that is missing, wherever this package came from."""
    return f"{what} need {library} (pip install {library})."


class UnknownModelError(ZooError):
    """A name that the manifest does not have."""


class ManifestError(ZooError):
    """A manifest that breaks its schema."""


class WeightsError(ZooError):
    """Weights that cannot be fetched, are damaged, or do not fit their module."""


class PublishError(ZooError):
    """A publication that was refused or did not happen."""


class DataError(ZooError):
    """A data set that is missing, damaged or not the one that was expected."""


class TrainingError(ZooError):
    """A training run that cannot start, or cannot go on."""
