"""Runs the installed package as a newcomer has it: no checkout, no torch, no network. Exits non-zero where that fails."""

import contextlib
import importlib.util
import io
import sys
from pathlib import Path


def refuse_network(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise ConnectionError(f"the wheel must run without a network: {event}{args}")


sys.addaudithook(refuse_network)

import jax
import numpy as np
from PIL import Image

import converters
import zoo
from zoo.cli import main


def command(*arguments: str) -> str:
    """What `zoo ARGUMENTS` prints."""
    output = io.StringIO()
    sys.argv = ["zoo", *arguments]
    with contextlib.redirect_stdout(output):
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, f"zoo {' '.join(arguments)} exits {stop.code}"
    return output.getvalue()


for package in (zoo, converters):
    assert Path(package.__file__).is_relative_to(sys.prefix), f"{package.__file__} is not the installed one"
assert importlib.util.find_spec("torch") is None, "this environment has torch"

names = [name for name in zoo.list_models(pretrained=True) if zoo.info(name).weights.file]
assert {"mlp_mnist", "cnn_mnist", "vae_mnist"} <= set(names), names
for name in names:
    model = zoo.load(name, pretrained=True)
    inputs = [np.zeros(spec.shape, spec.dtype) for spec in zoo.info(name).inputs]
    outputs = jax.tree.leaves(model(*inputs, rngs={"noise": jax.random.key(0)}))
    assert all(np.isfinite(output).all() for output in outputs), f"{name} computes {outputs}"
    assert name in command("list"), f"`zoo list` does not show {name}"
    print(f"{name}: {[output.shape for output in outputs]}")

command("sample", "vae_mnist", "--label", "3", "--out", "digits.png")
image = np.asarray(Image.open("digits.png"))
assert image.std() > 10, "the sampled digits are blank"
print(f"digits.png: {image.shape}")
