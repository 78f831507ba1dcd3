"""Texts through zoo.embed and pictures through zoo.predict, against PyTorch's libraries, in one run.

    python benchmarks/verbs.py [--texts 10000] [--pictures 10000] [--sides zoo.embed transformers ...]

The encoder has MiniLM's size (6 layers, 384 wide) and random weights; texts have 3 to 500 tokens, half of
them less than 30. Pictures are JPEG files of 320 x 240 pixels, for a ResNet-18 with random weights. Each side
has a process of its own, which has done one item before; outputs are compared.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import _harness
import _torchvision  # noqa: F401 - before transformers
import numpy as np
from _verbs import SIDES

WORDS = 5000
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": WORDS + 5,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILES = 250  # different pictures; more are links to them
COMPARED = 1e-3  # of the largest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--sides", nargs="+", choices=[side for each in SIDES.values() for side in each])
    options = parser.parse_args()
    script = str(Path(__file__).with_name("_verbs.py"))
    print(
        _harness.machine("jax", "flax", "torch", "transformers"), f"load {os.getloadavg()[0]:.1f}", sep=", "
    )
    counts = {"embed": options.texts, "predict": options.pictures}
    makers = {"embed": write_texts, "predict": write_pictures}
    with tempfile.TemporaryDirectory() as directory:
        for verb, sides in SIDES.items():
            wanted = [side for side in sides if not options.sides or side in options.sides]
            if not (wanted and counts[verb]):
                continue
            makers[verb](Path(directory), counts[verb])
            commands = {side: (sys.executable, script, side, directory) for side in wanted}
            found = _harness.in_turns(commands, rounds=1)
            compare(Path(directory), wanted)
            print(f"\n{report(verb, counts[verb], found)}", flush=True)


def report(verb: str, count: int, found: dict[str, dict[str, float]]) -> str:
    first = next(iter(found.values()))
    rows = [
        (
            side,
            f"{count / each['seconds']:.1f}",
            f"{each['seconds'] / first['seconds']:.2f}",
            f"{each['cpu'] / first['cpu']:.2f}",
            f"{1000 * each['cpu'] / count:.0f}",
            f"{each['peak']:.2f}",
            f"{each['peak'] - each['loaded']:.2f}",
            f"{each['compilations']:.0f}",
            f"{each['again']:.0f}",
        )
        for side, each in found.items()
    ]
    header = (
        "items/s",
        "time",
        "CPU time",
        "CPU ms/item",
        "peak GB",
        "above loaded",
        "compiled",
        "once more",
    )
    return _harness.table((f"{verb}, {count:,}", *header), rows)


def compare(directory: Path, sides: list[str]) -> None:
    outputs = [np.load(directory / f"{side}.npy") for side in sides]
    for side, each in zip(sides, outputs, strict=True):
        error = np.abs(each - outputs[0]).max() / np.abs(outputs[0]).max()
        if not error < COMPARED:
            raise SystemExit(f"the outputs of {side} differ by {error:.1e}")


def write_texts(directory: Path, count: int) -> None:
    """Writes the encoder, as sentence-transformers has it, and texts of words that are tokens."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = directory / "encoder"
    BertModel(BertConfig(**CONFIG)).save_pretrained(folder)
    words = [f"w{index}" for index in range(WORDS)]
    (folder / "vocab.txt").write_text("\n".join((*SPECIAL, *words)))
    files = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 512},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.3, 0.9, count), 1, 498).astype(int)
    texts = [" ".join(rng.choice(words, length)) for length in lengths]
    (directory / "embed.json").write_text(json.dumps(texts))


def write_pictures(directory: Path, count: int) -> None:
    """Writes a ResNet-18 for both sides, and files of pictures."""
    from PIL import Image

    import zoo
    from zoo._saving.export import export

    zoo.save(zoo.load("resnet18"), directory / "resnet18")
    export(directory / "resnet18", directory / "resnet18.pth")
    rng = np.random.default_rng(0)
    names = [directory / f"{index}.jpg" for index in range(count)]
    for index, name in enumerate(names):
        if index < FILES:
            coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            coarse.resize((320, 240), Image.Resampling.BICUBIC).save(name, quality=90)
        else:
            os.link(names[index % FILES], name)
    (directory / "predict.json").write_text(json.dumps([str(name) for name in names]))


if __name__ == "__main__":
    main()
