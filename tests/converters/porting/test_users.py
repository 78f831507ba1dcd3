"""Modules as users write them equal what is written for them, with random weights at other sizes."""

import pytest
import torch

from converters.porting.proof import prove, proven_output
from converters.porting.work import at_other_sizes, bound, evaluating, unused
from tests.converters.porting.users import MODULES

# What these have besides outputs, the others have, too.
BACKWARD = ("dcgan", "vq-vae")  # running statistics; gradients that are stopped


@pytest.mark.parametrize("name", MODULES)
def test_outputs_are_equal(name):
    torch.manual_seed(0)
    module, inputs = MODULES[name]()
    with evaluating(module):
        written, others, notes = at_other_sizes(module, bound(module, inputs, {}))
    check = prove if name in BACKWARD else proven_output
    check(module, written, others, unused(module, written.scope))  # raises where they differ
    assert "transpose(" not in written.source or name in ("actor-critic", "diffusion", "vq-vae")
    # A linear layer behind a flatten takes one size of images; what is traced is traced for all others.
    assert bool(notes) == (name == "actor-critic")
