"""Formats of checkpoint files; `detect` has the table of them."""

from converters.formats import safetensors
from converters.formats.file_names import INDEX_FILE, INDEX_SUFFIX, PREFERRED_FILES, WEIGHTS_FILE
from converters.formats.sharded import file_in, hashes_of, shards_of
from converters.formats.tensor_names import are_flax

__all__ = [
    "INDEX_FILE",
    "INDEX_SUFFIX",
    "PREFERRED_FILES",
    "WEIGHTS_FILE",
    "are_flax",
    "file_in",
    "hashes_of",
    "safetensors",
    "shards_of",
]
