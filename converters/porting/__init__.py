"""From a torch module that runs to the source of a Flax module that gives the same numbers."""
