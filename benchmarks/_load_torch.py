"""One process of load.py: MODEL INPUTS FILE, of tests/reference/twins.py, torchvision or transformers."""

import json
import sys
import time
from pathlib import Path

begin = time.perf_counter()
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.reference import published, twins

_, model_name, described, file = sys.argv
if hasattr(twins, model_name):
    create = getattr(twins, model_name)
elif model_name.startswith("GPT2"):
    published.declare_operators()  # transformers imports torchvision where it is installed
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging

    logging.disable_progress_bar()
else:
    published.declare_operators()
    from torchvision.models import get_model

    def create():
        return get_model(model_name)


if file.endswith(".safetensors"):
    from safetensors.torch import load_file as read
else:

    def read(file):
        return torch.load(file, weights_only=True)


def example(shape, dtype):
    """Zeros as a twin takes them: images channels first, labels of 64 bits; else as they are."""
    if len(shape) == 4:
        shape = (shape[0], shape[3], *shape[1:3])
    return torch.zeros(shape, dtype=torch.int64 if dtype == "int32" else getattr(torch, dtype))


inputs = [example(shape, dtype) for shape, dtype in json.loads(described)]
if model_name == "VAE":
    inputs.append(torch.randn(1, 32))


def load():
    if model_name.startswith("GPT2"):
        return GPT2LMHeadModel.from_pretrained(Path(file).parent).eval()
    model = create()
    model.load_state_dict(read(file))
    return model.eval()


imported = time.perf_counter()
model = load()
loaded = time.perf_counter()
with torch.inference_mode():
    model(*inputs)
done = time.perf_counter()
print("first output", flush=True)

times = []
for _ in range(20):
    start = time.perf_counter()
    load()
    times.append(time.perf_counter() - start)
figures = {"imports": imported - begin, "load": loaded - imported, "output": done - loaded}
print(json.dumps(figures | {"again": sorted(times)[10]}))
