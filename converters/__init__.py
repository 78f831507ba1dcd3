"""PyTorch checkpoints into Flax variables, exactly, and back. Needs no PyTorch."""

from converters.checkpoints import read_checkpoint, write_checkpoint
from converters.comparison.compare import Comparison, compare
from converters.errors import CheckpointError, ConversionError, ConverterError
from converters.matching.names_file import read_names, write_names
from converters.matching.rules import Fuse, Keep, Orthogonalize, Reshape, Split, Transpose, Unflatten
from converters.porting.ported import Ported, port
from converters.state_dict import convert, match, to_torch

__all__ = [
    "CheckpointError",
    "Comparison",
    "ConversionError",
    "ConverterError",
    "Fuse",
    "Keep",
    "Orthogonalize",
    "Ported",
    "Reshape",
    "Split",
    "Transpose",
    "Unflatten",
    "compare",
    "convert",
    "match",
    "port",
    "read_checkpoint",
    "read_names",
    "to_torch",
    "write_checkpoint",
    "write_names",
]
