"""One process of sharded.py, with its part of the devices: DIRECTORY HOW PROCESS PROCESSES PORT."""

import json
import os
import sys
import time
from pathlib import Path

directory, how, process, processes, port = sys.argv[1:]
count = 8 // int(processes)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"

import jax
from jax.sharding import Mesh

import zoo

if processes != "1":
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process))


def status(field):
    """In bytes, as the system says it of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def bytes_read():
    """By all of this process's calls, from the disk or from its cache."""
    return int(Path("/proc/self/io").read_text().split()[1])


mesh = Mesh(jax.devices(), ("data",))
place = zoo.fsdp(mesh)
zoo.load("mlp_mnist", pretrained=True, sharding=place)  # what is imported when it is first needed
before, start, cpu = bytes_read(), time.perf_counter(), time.process_time()
idle = status("VmHWM")
if how == "whole":
    model = zoo.load(directory, pretrained=True)
    paths = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.device_put(leaf, place("/".join(key.key for key in path), leaf)),
        model.variables,
    )
    model = model.replace(variables=paths)
else:
    model = zoo.load(directory, pretrained=True, sharding=place)
leaves = jax.block_until_ready(jax.tree.leaves(model.variables))
figures = {
    "seconds": time.perf_counter() - start,
    "cpu": time.process_time() - cpu,
    "read": bytes_read() - before,
    "idle": idle,
    "peak": status("VmHWM"),
    "arrays": sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards),
    "whole": sum(leaf.nbytes for leaf in leaves),
    "notes": model.notes,
}
print(json.dumps(figures))
