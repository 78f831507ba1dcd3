"""The state of a run between two updates."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from zoo.training.tasks import Variables


class TrainState(flax.struct.PyTreeNode):
    """The variables, the optimiser's state and the count of updates.

    All randomness depends on `key` and `step`, so that a restored state continues exactly as the lost one.

    Attributes:
        step: Number of updates so far.
        variables: All collections of the model.
        opt_state: Optax's state.
        average: Exponential moving average of the trained params; None if the recipe has no `ema_decay`.
        key: The run's random key, as data.
    """

    step: jax.Array
    variables: Variables
    opt_state: optax.OptState
    average: Any
    key: jax.Array

    @classmethod
    def create(
        cls,
        variables: Variables,
        optimizer: optax.GradientTransformation,
        *,
        average: bool,
        seed: int,
        trained: Variables | None = None,
    ) -> "TrainState":
        """Creates the state before the first update, for all params or those in `trained`."""
        trained = variables["params"] if trained is None else trained
        return cls(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            opt_state=optimizer.init(trained),
            average=trained if average else None,
            key=jax.random.key_data(jax.random.key(seed)),
        )

    def random(self, use: int, count: jax.Array) -> jax.Array:
        """Returns a random key for the given use (a small number) and a count such as the step."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(self.key), use), count)

    @property
    def result(self) -> Variables:
        """The variables to save: those of the last update, with averaged params if there is an average."""
        if self.average is None:
            return self.variables
        return {**self.variables, "params": {**self.variables["params"], **self.average}}
