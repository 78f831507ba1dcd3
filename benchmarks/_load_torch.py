"""One process of load.py: FAMILY INPUTS FILE."""

import json
import sys
import time
from pathlib import Path

begin = time.perf_counter()
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import twins

_, family, described, file = sys.argv
# Images are channels first here; with one channel that is only another shape.
inputs = [
    torch.zeros((shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape, dtype=getattr(torch, dtype))
    for shape, dtype in json.loads(described)
]
if file.endswith(".safetensors"):
    import safetensors.torch

    read = safetensors.torch.load_file
else:

    def read(file):
        return torch.load(file, weights_only=True)


def load():
    model = getattr(twins, family.upper())()
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
