"""Equal blocks one after the other: each with arrays of its own, or one in a loop that is compiled once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from zoo._errors import ZooError


class LayerStack(NamedTuple):
    """How many blocks there are, and how they are run.

    Attributes:
        depth: How many.
        scan: Whether they are one in a loop, whose arrays have the blocks for their first axis.
        remat: Whether gradients compute what is in a block anew, instead of keeping it.
    """

    depth: int
    scan: bool = False
    remat: bool = False

    def build(self, make: Callable[[], nn.Module]) -> Any:
        """What a module keeps as its attribute: a list of the blocks, or the one of the loop.

        Raises:
            ZooError: there is no block for a loop.
        """
        if self.scan and not self.depth:
            raise ZooError("scan=True takes a block at least, and the depth is 0; leave it out.")
        return make() if self.scan else [make() for _ in range(self.depth)]

    def apply(self, blocks: Any, call: Callable[[Any, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
        """The last states.

        Args:
            blocks: What `build` made.
            call: A block and states -> states.
            x: The first states.
        """
        last: jax.Array = self.scan_with(blocks, lambda block, x, _: (call(block, x), None), x, None)[0]
        return last

    def scan_with(
        self, blocks: Any, call: Callable[[Any, Any, Any], tuple[Any, Any]], x: Any, each: Any
    ) -> tuple[Any, Any]:
        """The last states, and what each block gives beside them.

        Args:
            blocks: What `build` made.
            call: A block, states and what is the block's own -> states and what else the block gives.
            x: The first states.
            each: What is each block's own, if anything: in a list, or in arrays with one more axis, the
                first, where the blocks are one. What they give is kept likewise.
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
