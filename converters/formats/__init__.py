"""Formats of checkpoint files; `detect` has the table of them."""

from converters.formats import gguf, safetensors
from converters.formats.detect import ALL_SUFFIXES
from converters.formats.file_names import INDEX_FILE, INDEX_SUFFIX, PREFERRED_FILES, WEIGHTS_FILE
from converters.formats.sharded import file_in, hashes_of, shards_of
from converters.formats.tensor_names import are_flax

__all__ = [
    "ALL_SUFFIXES",
    "INDEX_FILE",
    "INDEX_SUFFIX",
    "PREFERRED_FILES",
    "WEIGHTS_FILE",
    "are_flax",
    "file_in",
    "gguf",
    "hashes_of",
    "safetensors",
    "shards_of",
]
