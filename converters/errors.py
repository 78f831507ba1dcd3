"""Errors that converters raises; the command line catches ConverterError."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.matching.rules import Rule


class ConverterError(Exception):
    """Anything converters refuses to do."""


class CheckpointError(ConverterError):
    """A file that cannot be read as a checkpoint, or a state dict that cannot be written as one."""


class ConversionError(ConverterError):
    """A state dict and a module that do not fit each other.

    Attributes:
        draft: names pairs and rules to try, where different names seem to be why; for `names=` once checked.
        source: of a port, with classes to be written in place of those that cannot be ported; else empty.
    """

    def __init__(
        self, message: str, draft: "tuple[tuple[str, str] | Rule, ...]" = (), *, source: str = ""
    ) -> None:
        super().__init__(message)
        self.draft = draft
        self.source = source
