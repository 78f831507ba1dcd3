"""What converters raises; the command line catches ConverterError."""


class ConverterError(Exception):
    """Anything converters refuses to do."""


class CheckpointError(ConverterError):
    """A file that cannot be read as a checkpoint, or a state dict that cannot be written as one."""


class ConversionError(ConverterError):
    """A state dict and a module that do not fit each other."""
