"""Runs the installed package as a newcomer has it: no checkout, no torch, no network.

Exits non-zero where that fails.
"""

import contextlib
import importlib.util
import io
import sys
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import converters
import zoo
from zoo import cli


def main() -> None:
    sys.addaudithook(refuse_network)
    for package in (zoo, converters):
        assert Path(package.__file__).is_relative_to(sys.prefix), f"not the wheel's: {package.__file__}"
    assert importlib.util.find_spec("torch") is None, "this environment has torch"

    weights = {name: zoo.info(name).weights for name in zoo.list_models(pretrained=True)}
    names = [name for name, where in weights.items() if where.file and not where.repo]  # bundled
    assert {"mlp_mnist", "cnn_mnist", "vae_mnist"} <= set(names), names
    for name in names:
        model = zoo.load(name, pretrained=True)
        inputs = [np.zeros(spec.shape, spec.dtype) for spec in zoo.info(name).inputs]
        outputs = jax.tree.leaves(model(*inputs, rngs={"noise": jax.random.key(0)}))
        assert all(np.isfinite(output).all() for output in outputs), f"{name} computes {outputs}"
        print(f"{name}: {[output.shape for output in outputs]}")

    listed = run("list")
    assert all(name in listed for name in names), listed
    run("sample", "vae_mnist", "--label", "3", "--out", "digits.png")
    image = np.asarray(Image.open("digits.png"))
    assert image.std() > 10, "the sampled digits are blank"
    print(f"digits.png: {image.shape}")


def refuse_network(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise ConnectionError(f"the wheel must run without a network: {event}{args}")


def run(*arguments: str) -> str:
    """What `zoo ARGUMENTS` prints; here and not in a process of its own, where the network would be open."""
    sys.argv = ["zoo", *arguments]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise
    return output.getvalue()


if __name__ == "__main__":
    main()
