"""Names of the models."""

from fnmatch import fnmatchcase

from zoo._registry import manifest


def list_models(pattern: str = "*", *, pretrained: bool | None = None) -> list[str]:
    """Lists the names that match a pattern such as `*_mnist`, or contain it.

    Args:
        pattern: Shell-style wildcards; without any, a part of the names.
        pretrained: If true, only models with published weights; if false, only those without.
    """
    found = manifest.read()
    pattern = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    return sorted(
        name
        for name in found.models
        if fnmatchcase(name, pattern) and pretrained in (None, name in found.pretrained)
    )
