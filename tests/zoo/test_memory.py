"""Memory that loading takes beside the weights themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import converters
import zoo
from tests.zoo.loading.test_transformers_config import write

SHARED = 500_000_000  # bytes beside the weights: Python, JAX, and what is being read
LOAD = """
import sys
import jax, numpy as np, zoo
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
place = zoo.fsdp(mesh) if len(jax.devices()) > 1 else None
model = jax.block_until_ready(zoo.load(sys.argv[1], pretrained=True, sharding=place))
print(sum(each.nbytes for each in jax.tree.leaves(model.variables)))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("devices", [1, 8])
def test_a_checkpoint_in_three_files_is_in_memory_once(tmp_path, devices):
    config = json.loads((Path(__file__).parents[1] / "data" / "configs" / "gpt2.config.json").read_text())
    module, tokens = zoo.gpt2.create(), jax.ShapeDtypeStruct((1, 8), "int32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
    variables = jax.tree.map(lambda each: np.zeros(each.shape, each.dtype), shapes)
    names = zoo.gpt2.TORCH_NAMES["transformers_model"]
    tensors = converters.to_torch(variables, module, tokens, names=names)
    directory = write(tmp_path / "gpt2", config, tensors, shards=3)
    run = [sys.executable, "-c", LOAD, str(directory)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    said = subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout
    size, peak = map(int, said.split())
    assert size == 124_439_808 * 4
    assert peak * 1024 <= size + SHARED
    print(f"peak: {peak * 1024 / 1e9:.2f} GB, of them {size / 1e9:.2f} weights")
