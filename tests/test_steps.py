"""Ten steps of SGD from equal weights on equal data end at equal weights, with a frozen part and without."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import converters
import zoo
from tests.cases import CASES, Case
from tests.equivalence import difference
from tests.test_equivalence import channels_first, prepare

pytestmark = pytest.mark.costly

STEPS, RATE, BOUND = 10, 1e-2, 1e-8
# Case -> what is trained where not all is: by Flax's names, and by PyTorch's.
PARTS = {
    "resnet20, of CIFAR": ("fc|layer3", r"(linear|layer3)\..*"),
    "gpt2": ("h_1|ln_f", r"transformer\.(h\.1|ln_f)\..*"),
    "bert, classifier": ("pooler|classifier", r"(bert\.pooler|classifier)\..*"),
}


@pytest.mark.parametrize("whole", [True, False], ids=["all", "part"])
@pytest.mark.parametrize("name", PARTS)
def test_ten_steps_end_at_equal_weights(name: str, whole: bool) -> None:
    case, (pattern, theirs) = CASES[name], PARTS[name]
    models = prepare(case)
    start = {path: tensor.numpy().copy() for path, tensor in models.twin.state_dict().items()}
    expected = torch_steps(models.twin, case, ".*" if whole else theirs)
    with jax.enable_x64(True):
        variables = flax_steps(models.module, models.variables, case, ".*" if whole else pattern)
        found = converters.to_torch(variables, models.module, *case.inputs, **models.options)
    for path, array in found.items():
        assert difference(array, expected[path]) <= BOUND, path
    still = {path for path in found if np.array_equal(found[path], start[path])}
    frozen = {path for path in found if not (whole or re.fullmatch(theirs, path))}
    assert {path for path in frozen if "running" not in path} <= still
    # Attention is the same whatever is added to all keys.
    assert all(path.endswith("key.bias") for path in still - frozen)


def flax_steps(module, variables, case: Case, pattern: str):
    """The variables after the steps, with the optimizer that the guide makes."""
    groups = {"trained": pattern} | ({} if pattern == ".*" else {"frozen": ".*"})
    labels = zoo.partition(variables, groups)
    chains = {"trained": optax.sgd(RATE), "frozen": optax.set_to_zero()}
    optimizer = optax.multi_transform({group: chains[group] for group in groups}, labels)

    @jax.jit
    def step(variables, state):
        def loss(params):
            outputs, changed = module.apply(
                variables | {"params": params}, *case.inputs, train=True, mutable=["batch_stats"]
            )
            first = jax.tree.leaves(outputs)[0]
            return jnp.mean((first - 1) ** 2), changed

        gradients, changed = jax.grad(loss, has_aux=True)(variables["params"])
        updates, state = optimizer.update(gradients, state)
        return variables | changed | {"params": optax.apply_updates(variables["params"], updates)}, state

    state = optimizer.init(variables["params"])
    for _ in range(STEPS):
        variables, state = step(variables, state)
    return jax.tree.map(np.asarray, variables)


def torch_steps(twin: torch.nn.Module, case: Case, pattern: str) -> dict[str, np.ndarray]:
    """The state dict after the steps."""
    twin.train()
    for path, parameter in twin.named_parameters():
        parameter.requires_grad_(re.fullmatch(pattern, path) is not None)
    sgd = torch.optim.SGD([each for each in twin.parameters() if each.requires_grad], lr=RATE)
    inputs = [torch.from_numpy(np.array(channels_first(x), order="C")) for x in case.inputs]
    for _ in range(STEPS):
        sgd.zero_grad()
        outputs = twin(*inputs)
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        ((first - 1) ** 2).mean().backward()
        sgd.step()
    return {path: tensor.numpy() for path, tensor in twin.state_dict().items()}
