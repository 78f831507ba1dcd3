"""Character-level text for next-token prediction."""

import json
from typing import Any

import numpy as np

# Of tiny Shakespeare, in the order of their codes; a token is an index into them.
CHARACTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

LENGTH = 128  # characters of a window
STRIDE = 32  # between the starts of windows to train on; those to measure on do not overlap
TRAINING = 0.9  # share of the text, its beginning


def windows(text: np.ndarray[Any, Any], split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Cuts ASCII codes into tokens (count, LENGTH) and the next token of each, both int32."""
    tokens = np.searchsorted(np.frombuffer(CHARACTERS.encode(), np.uint8), text).astype(np.int32)
    end = int(len(tokens) * TRAINING)
    part, stride = (tokens[:end], STRIDE) if split == "train" else (tokens[end:], LENGTH)
    starts = np.arange(0, len(part) - LENGTH, stride)[:, None]
    rows = starts + np.arange(LENGTH)
    return part[rows], part[rows + 1]


def tokenizer() -> bytes:
    """Returns a character-level tokenizer.json of the library `tokenizers`; it refuses other characters."""
    description = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"[\s\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {character: token for token, character in enumerate(CHARACTERS)},
            "unk_token": "none",
        },
    }
    return json.dumps(description, indent=1).encode()
