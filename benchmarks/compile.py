"""Seconds until GPT-2 is compiled, with its blocks one after the other and in a loop (scan=True).

    python benchmarks/compile.py [--depth 12 --depth 48] [--width 768] [--rounds 3]

Traced, lowered and compiled for shapes alone, each in a fresh process: the forward pass, and a training step
with AdamW. Nothing is run, and no cache is kept. CPU seconds say more where others use the machine.
"""

import argparse
import json
import sys

import _harness

STEPS = {"forward": "forward", "training": "training step"}
LENGTH = 128  # tokens of each of two texts; time to compile hardly depends on it


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, action="append")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--scan", action="store_true")
    options = parser.parse_args()
    depths = options.depth or [12, 48]
    if options.step:
        run(options.step, depths[0], options.width, options.scan)
        return
    rows = []
    for step, title in STEPS.items():
        for depth in depths:
            commands = {way: command(step, depth, options.width, way) for way in ("plain", "scan")}
            found = _harness.in_turns(commands, rounds=options.rounds)
            plain = found["plain"]
            for way, figures in found.items():
                rows.append(
                    (
                        f"{title}, {depth} blocks, {'scanned' if way == 'scan' else 'unrolled'}",
                        *(f"{figures[part]:.2f}" for part in ("trace", "lower", "compile")),
                        f"{total(figures):.2f}",
                        f"{figures['cpu']:.2f}",
                        f"{plain['cpu'] / figures['cpu']:.1f}",
                        f"{total(plain) / total(figures):.1f}",
                        f"{figures['peak']:.0f}",
                    )
                )
    header = (
        "GPT-2 to be compiled",
        "trace s",
        "lower s",
        "compile s",
        "sum s",
        "CPU s",
        "times CPU",
        "times sum",
        "peak MB",
    )
    print(_harness.table(header, rows))
    print(f"width {options.width}; {_harness.machine('jax', 'flax', 'optax')}")


def command(step: str, depth: int, width: int, way: str) -> list[str]:
    arguments = ["--step", step, "--depth", depth, "--width", width, *(["--scan"] if way == "scan" else [])]
    return [sys.executable, __file__, *map(str, arguments)]


def total(figures: dict[str, float]) -> float:
    return figures["trace"] + figures["lower"] + figures["compile"]


def run(step: str, depth: int, width: int, scan: bool) -> None:
    """One model, compiled in a process of its own."""
    import resource
    import time

    import jax
    import numpy as np
    import optax

    from zoo import gpt2

    module = gpt2.create(width=width, depth=depth, scan=scan)
    tokens = jax.ShapeDtypeStruct((2, LENGTH), np.int32)
    params = jax.eval_shape(module.init, jax.random.key(0), tokens)["params"]
    optimiser = optax.adamw(1e-4)

    def forward(params, tokens):
        return module.apply({"params": params}, tokens).logits

    def training(params, state, tokens, key):
        def loss(params):
            logits = module.apply({"params": params}, tokens, train=True, rngs={"dropout": key}).logits
            each = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:])
            return each.mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimiser.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(optimiser.init, params)
    function, arguments = (
        (forward, (params, tokens)) if step == "forward" else (training, (params, state, tokens, key))
    )
    print("ready", flush=True)
    used, times = time.process_time(), [time.perf_counter()]
    traced = jax.jit(function).trace(*arguments)
    times.append(time.perf_counter())
    lowered = traced.lower()
    times.append(time.perf_counter())
    lowered.compile()
    times.append(time.perf_counter())
    figures = dict(zip(("trace", "lower", "compile"), np.diff(times).tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures | {"cpu": time.process_time() - used, "peak": peak}))


if __name__ == "__main__":
    main()
