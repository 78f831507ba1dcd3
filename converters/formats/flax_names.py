"""Names that Flax's layers give their arrays, as PyTorch's layers have them."""

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def torch_leaf(name: str) -> str:
    """Returns a dotted name with PyTorch's own last part."""
    head, dot, leaf = name.rpartition(".")
    return f"{head}{dot}{LEAVES.get(leaf, leaf)}"
