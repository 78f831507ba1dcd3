"""Stacks of equal blocks: unrolled, each with its own arrays, or as a loop that is compiled once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from zoo._errors import ZooError


class LayerStack(NamedTuple):
    """A number of equal blocks, and how they run.

    Attributes:
        depth: Number of blocks.
        scan: If true, the blocks are one in a loop, and the first axis of its arrays is the blocks.
        remat: If true, gradients recompute a block's activations instead of keeping them.
    """

    depth: int
    scan: bool = False
    remat: bool = False

    def build(self, make: Callable[[], nn.Module]) -> Any:
        """Builds the blocks for a module's attribute: a list, or the one of the loop.

        Raises:
            ZooError: `scan` without blocks.
        """
        if self.scan and not self.depth:
            raise ZooError("scan=True needs at least one block, and the depth is 0; leave it out.")
        return make() if self.scan else [make() for _ in range(self.depth)]

    def apply(self, blocks: Any, call: Callable[[Any, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
        """Applies the blocks in order and returns the last states.

        Args:
            blocks: Result of `build`.
            call: (block, states) -> states.
            x: Input of the first block.
        """
        last: jax.Array = self.scan_with(blocks, lambda block, x, _: (call(block, x), None), x, None)[0]
        return last

    def scan_with(
        self, blocks: Any, call: Callable[[Any, Any, Any], tuple[Any, Any]], x: Any, each: Any
    ) -> tuple[Any, Any]:
        """Applies the blocks in order and returns the last states and each block's further output.

        Args:
            blocks: Result of `build`.
            call: (block, states, further input of the block) -> states and further output of the block.
            x: Input of the first block.
            each: Further inputs of the blocks, if any: a list, or, where the blocks are one, arrays whose
                first axis is the blocks. Further outputs are returned likewise.
        """
        if self.scan:
            # In a loop, nothing outside is the same computation.
            call = nn.remat(call, prevent_cse=False) if self.remat else call
            # All collections are stacked, and each block draws random numbers of its own.
            loop = nn.scan(call, variable_axes={True: 0}, split_rngs={True: True}, length=self.depth)
            return loop(blocks, x, each)
        call = nn.remat(call) if self.remat else call
        made = []
        for index, block in enumerate(blocks):
            x, out = call(block, x, each and each[index])
            made.append(out)
        return x, made
