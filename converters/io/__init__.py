"""Files and memory: safe reads and writes, signals, and slices of arrays in files."""

from converters.io.atomic import atomic_write, check_free_space, sync_directory
from converters.io.files import InputFile, aligned_read, named_errors
from converters.io.json import decode_json
from converters.io.memory import aligned_empty
from converters.io.signals import exceptions_from, exit_on_signals
from converters.io.slices import Box, FileArray, Part, Stacked, box_slices, read_box, whole_box
from converters.io.writing import CHUNK, ArraySpec, describe, write_at

__all__ = [
    "CHUNK",
    "ArraySpec",
    "Box",
    "FileArray",
    "InputFile",
    "Part",
    "Stacked",
    "aligned_empty",
    "aligned_read",
    "atomic_write",
    "box_slices",
    "check_free_space",
    "decode_json",
    "describe",
    "exceptions_from",
    "exit_on_signals",
    "named_errors",
    "read_box",
    "sync_directory",
    "whole_box",
    "write_at",
]
