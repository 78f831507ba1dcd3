"""Texts to tell apart, and a small model of texts to finetune."""

import json
import random
from pathlib import Path

import torch

from tests.equivalence import state_dict
from tests.reference import text_models
from tests.zoo.loading.test_transformers_config import BERT, write
from tests.zoo.preprocessing.test_text import add_tokenizer


def write_texts(folder: Path) -> Path:
    """Returns true if w5 or w9 is among the words."""
    rng = random.Random(0)
    for split, count, suffix in (("train", 256, "csv"), ("val", 32, "jsonl")):
        rows = []
        for index in range(count):
            words = [f"w{rng.randrange(10, 16)}" for _ in range(rng.randrange(3, 7))]
            words[rng.randrange(3)] = ("w5", "w9")[index % 2]
            rows.append({"text": " ".join(words), "label": ("five", "nine")[index % 2]})
        lines = ["text,label", *(f'"{row["text"]}",{row["label"]}' for row in rows)]
        content = lines if suffix == "csv" else map(json.dumps, rows)
        (folder / f"{split}.{suffix}").write_text("\n".join(content) + "\n")
    return folder


def write_bert(folder: Path) -> Path:
    torch.manual_seed(0)
    twin = text_models.bert("BertForMaskedLM")
    return add_tokenizer(write(folder, BERT, state_dict(twin)))
