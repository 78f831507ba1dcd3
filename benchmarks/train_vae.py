"""Seconds an epoch of the VAE's training: one compiled program in parts, a loop over batches, and PyTorch.

The reference configuration: batches of 16, AdamW. An epoch has 60,000 images, of which a fifth is run and its
time taken five times; what is on the images does not matter.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import torch
from _harness import PAUSE, machine, table
from torch import nn
from torch.nn import functional as F

import zoo
from zoo.training import Examples, TrainState, find_recipe, with_settings
from zoo.training.loop import compile_epoch, make_step
from zoo.training.optimizer import optimizer

ROUNDS = 5
PART = 5  # of an epoch is run
COUNT, BATCH = 60_000 // PART, 16
STEPS = COUNT // BATCH
SETTINGS = (
    "batch_size=16",
    "learning_rate=1e-4",
    "decay=constant",
    "warmup_steps=0",
    "weight_decay=1e-4",
    "train_kl_weight=0",
    "clip_norm=0",
    "average=0",
)
RECIPE = with_settings(find_recipe("vae_mnist"), SETTINGS)


def zoo_train(examples: Examples) -> Callable[[], float]:
    """An epoch as `zoo train` runs it."""
    model, state = start()
    epoch = compile_epoch(model, RECIPE, COUNT)
    on_device = jax.device_put(examples)

    def run() -> float:
        nonlocal state
        state, measures = epoch(state, on_device)
        return float(measures["loss"].mean())

    return run


def loop(examples: Examples) -> Callable[[], float]:
    """The same updates, called one by one with batches from the host."""
    model, state = start()
    step = jax.jit(make_step(model, RECIPE, optimizer(RECIPE, STEPS)))

    def run() -> float:
        nonlocal state
        losses = []
        for rows in np.random.default_rng(0).permutation(COUNT).reshape(STEPS, BATCH):
            state, measures = step(state, Examples(*(array[rows] for array in examples)))
            losses.append(measures["loss"])
        return float(np.mean(jax.device_get(losses)))

    return run


def start() -> tuple[zoo.Model, TrainState]:
    model = zoo.load("vae_mnist", output_activation="relu")  # as the article's
    return model, TrainState.create(model.variables, optimizer(RECIPE, STEPS), average=False, seed=0)


class VAE(nn.Module):
    """The same model, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = dense(784, 256, 128, 64)
        self.pre_latent = nn.Linear(64, 64)
        self.post_latent = nn.Linear(32, 64)
        self.class_proj = nn.Linear(10, 64)
        self.decoder = dense(64, 128, 256, 784)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean, logvar = self.pre_latent(self.encoder(x)).chunk(2, dim=1)
        latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        classes = F.one_hot(labels, 10).to(x.dtype)
        return self.decoder(self.post_latent(latents) + self.class_proj(classes)), mean, logvar


def dense(*sizes: int) -> nn.Sequential:
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*(layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())))


def pytorch(examples: Examples, threads: int) -> Callable[[], float]:
    """The same loop in PyTorch, eager."""
    vae = VAE()
    adamw = torch.optim.AdamW(vae.parameters(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
    images = torch.from_numpy(examples.inputs).flatten(1)
    labels = torch.from_numpy(examples.labels).long()

    def run() -> float:
        torch.set_num_threads(threads)
        losses = []
        for rows in torch.randperm(COUNT).reshape(STEPS, BATCH):
            x = images[rows].float() / 255
            reconstructed, mean, logvar = vae(x, labels[rows])
            kl = 0.5 * (logvar.exp() + mean**2 - 1 - logvar).sum(1)
            loss = (0.5 * ((reconstructed - x) ** 2).sum(1) + RECIPE.kl_weight * kl).mean()
            adamw.zero_grad()
            loss.backward()
            adamw.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run


def main() -> None:
    rng = np.random.default_rng(0)
    examples = Examples(
        rng.integers(0, 256, (COUNT, 28, 28, 1), np.uint8), rng.integers(0, 10, COUNT, np.int32)
    )
    threads = torch.get_num_threads()
    contenders = {
        "as zoo train": zoo_train,
        "loop over batches": loop,
        f"PyTorch, threads: {threads}": partial(pytorch, threads=threads),
        "PyTorch, threads: 1": partial(pytorch, threads=1),  # small matrices gain little from more
    }
    runs = {name: make(examples) for name, make in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for measured in [False] + [True] * ROUNDS:  # the first round compiles
        for name, run in runs.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            if not math.isfinite(run()):
                raise RuntimeError(f"{name}: the loss is no number")
            if measured:
                seconds[name].append(PART * (time.perf_counter() - begin))
    medians = {name: statistics.median(of_name) for name, of_name in seconds.items()}
    rows = [
        (name, f"{median:.2f}", f"{median / medians['as zoo train']:.2f}") for name, median in medians.items()
    ]
    print(machine("jax", "flax", "torch"))
    print(table(("VAE, batches of 16", "seconds an epoch", "relative"), rows))


if __name__ == "__main__":
    main()
