"""One process of load.py: NAME INPUTS."""

import json
import sys
import time

begin = time.perf_counter()
import jax
import numpy as np

import zoo

_, name, described = sys.argv
inputs = [np.zeros(shape, dtype) for shape, dtype in json.loads(described)]


@jax.jit
def run(model, *inputs):
    return model(*inputs, rngs={"noise": jax.random.key(0)})


imported = time.perf_counter()
model = jax.block_until_ready(zoo.load(name, pretrained=True))
loaded = time.perf_counter()
jax.block_until_ready(run(model, *inputs))
done = time.perf_counter()
print("first output", flush=True)

times = []
for _ in range(20):
    start = time.perf_counter()
    jax.block_until_ready(zoo.load(name, pretrained=True))
    times.append(time.perf_counter() - start)
figures = {"imports": imported - begin, "load": loaded - imported, "output": done - loaded}
print(json.dumps(figures | {"again": sorted(times)[10]}))
