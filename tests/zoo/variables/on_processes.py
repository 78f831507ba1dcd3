"""One of two processes with four virtual devices each: loads a model spread over all eight, and saves it.

JAX_NUM_CPU_DEVICES=4 \
    python -m tests.zoo.variables.on_processes PROCESS PORT FROM TO
"""

import json
import sys

import jax
from jax.sharding import Mesh

import zoo
from converters.io import slices


def main(process: str, port: str, source: str, target: str) -> None:
    """Prints how many bytes of arrays it read, and how many its devices have of what is spread or whole."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    read, fill = [], slices.Image.fill

    def counted(image, low, high, buffer):
        read.append(high - low)
        fill(image, low, high, buffer)

    slices.Image.fill = counted
    model = zoo.load(source, pretrained=True, sharding=zoo.fsdp(Mesh(jax.devices(), ("data",))))
    leaves = jax.tree.leaves(model.variables)
    own = {id(leaf): {str(s.index): s.data.nbytes for s in leaf.addressable_shards} for leaf in leaves}
    zoo.save(model, target)
    figures = {
        "read": sum(read),
        "own": sum(sum(shards.values()) for shards in own.values()),
        "all": sum(leaf.nbytes for leaf in leaves),
        "devices": len(jax.devices()),
        "notes": model.notes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
