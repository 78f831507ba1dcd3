"""Real config.json files of the Hub's layout: loaded equal to transformers, refused, or neither.

    python -m benchmarks.real.configs DIRECTORY [DIRECTORY ...]

Each file makes a model of transformers with random weights, two layers and a short vocabulary; its other
attributes stay as they are. It is saved, loaded by the zoo, and compared. A file is a config.json, or a JSON
object of one as `config` and of its origin as `source`.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
import transformers

import zoo

VOCABULARY = 400  # more than any id of a special token that is kept
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers")
TOLERANCE = 1e-4  # of the largest output, in float32
FIELDS = (
    "logits",
    "start_logits",
    "end_logits",
    "prediction_logits",
    "seq_relationship_logits",
    "mc_logits",
    "last_hidden_state",
    "pooler_output",
)


def reduced(config: dict[str, Any]) -> dict[str, Any]:
    """The config with two layers and a short vocabulary, and the ids of its tokens within that."""
    made = dict(config)
    for name in DEPTHS:
        if name in made:
            made[name] = min(made[name], 2)
    if "vocab_size" in made:
        made["vocab_size"] = min(made["vocab_size"], VOCABULARY)
    for name, value in config.items():
        if name.endswith("_token_id") and isinstance(value, int):
            made[name] = min(value, VOCABULARY - 1)
    return made


def twin(config: dict[str, Any]) -> torch.nn.Module:
    """The model of transformers that the file names, by its class or else the base model."""
    named = config.get("architectures") or []
    kind = getattr(transformers, named[0], None) if named else None
    if config.get("model_type") is None and kind is not None:
        config = {**config, "model_type": kind.config_class.model_type}
    options = transformers.AutoConfig.for_model(**{**config, "dtype": "float32", "torch_dtype": "float32"})
    options._attn_implementation = "sdpa"
    torch.manual_seed(0)
    made = kind(options) if kind else transformers.AutoModel.from_config(options)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if tensor.ndim == 1:  # fresh biases and norms would hide a mistake
                tensor.copy_(torch.randn(tensor.shape) * 0.1 + ("norm" in name.lower()))
    made.tie_weights()
    return made.float().eval()


def inputs(config: dict[str, Any], model: zoo.Model) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    first = model.entry.inputs[0]
    if first.name == "images":
        return [rng.normal(size=(2, *first.shape[1:])).astype(np.float32)]
    shape = (2, *first.shape[1:-1], 9)
    return [rng.integers(5, VOCABULARY - 50, size=shape), np.ones(shape, int)]


def difference(config: dict[str, Any], theirs: torch.nn.Module, ours: zoo.Model) -> float:
    """The largest difference of any output, relative to the largest of that."""
    arrays = inputs(config, ours)
    found: Any = ours(*arrays)
    with torch.no_grad():
        if len(arrays) == 1:
            wanted = theirs(torch.from_numpy(arrays[0].transpose(0, 3, 1, 2).copy()))
        else:
            wanted = theirs(*map(torch.from_numpy, arrays[:1]), attention_mask=torch.from_numpy(arrays[1]))
    pairs = [(getattr(found, name, None), wanted[name].numpy()) for name in FIELDS if name in wanted]
    if isinstance(found, jax.Array):
        name = next(name for name in ("logits", "pooler_output", "last_hidden_state") if name in wanted)
        pairs = [(found, wanted[name].numpy())]
    compared = [(np.asarray(ours), theirs) for ours, theirs in pairs if ours is not None]
    if not compared or any(ours.shape != theirs.shape for ours, theirs in compared):
        return float("inf")
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in compared)


def outcome(config: dict[str, Any]) -> tuple[str, str]:
    """Outcome for a file: one word, and details."""
    small = reduced(config)
    try:
        theirs = twin(small)
    except Exception as error:
        return "not in transformers", f"{type(error).__name__}: {error}"
    with tempfile.TemporaryDirectory() as place:
        theirs.save_pretrained(place)
        Path(place, "config.json").write_text(json.dumps(small))
        try:
            ours = zoo.load(f"{place}/", pretrained=True)
        except Exception as error:
            return "refused", f"{type(error).__name__}: {error}"
        error = difference(small, theirs, ours)
        return ("equal" if error <= TOLERANCE else "DIFFERENT"), f"{error:.1e}"


def main(directories: list[str]) -> None:
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    counts: Counter[str] = Counter()
    for path in sorted(path for each in directories for path in Path(each).glob("*.json")):
        record = json.loads(path.read_text())
        config, source = record.get("config", record), record.get("source", path.name)
        if not isinstance(config, dict):
            continue
        word, details = outcome(config)
        counts[word] += 1
        kind = f"{config.get('model_type')} {config.get('architectures')}"
        print(f"{word:10} {kind} {source}: {' '.join(details.split())[:300]}", flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main(sys.argv[1:])
