"""Tokens a second of a model of GPT-2's size, against transformers' generate, in turns on the same cores.

    python benchmarks/generate.py [--prompt 32] [--tokens 128] [--rounds 5] [--dtype float32]

Weights are random, which costs the same as trained ones, and the likeliest token is taken. Compilation is not
counted: each side has generated once before. The bound is what reading the weights once a token allows, at
the speed at which two threads read an array of their size; of the positions' embeddings a row is read.
"""

import argparse
import json
import sys

import _harness

BATCHES = (1, 8)
SIDES = {
    "zoo": "zoo.gpt2.generate",
    "eager": "transformers, eager",
    "static": "transformers, static cache, compiled",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), action="append")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()
    dtypes = options.dtype or ["float32", "bfloat16"]
    if options.side:
        run(options.side, options.batch, dtypes[0], options.prompt, options.tokens, options.rounds)
        return
    rows = []
    for dtype in dtypes:
        for batch in BATCHES:
            commands = {side: command(side, batch, dtype, options) for side in SIDES}
            found = _harness.in_turns(commands, rounds=1)
            for side, title in SIDES.items():
                figures = found[side]
                rows.append(
                    (
                        f"{title}, {dtype}, batch {batch}",
                        f"{figures['tokens']:.0f}",
                        f"{found['eager']['seconds'] / figures['seconds']:.2f}",
                        f"{figures['cpu']:.1f}",
                        f"{batch * found['zoo']['bound']:.0f}",
                    )
                )
    header = (f"{options.tokens} tokens after {options.prompt}", "tokens/s", "times eager", "CPU s", "bound")
    print(_harness.table(header, rows))
    print(_harness.machine("jax", "flax", "torch", "transformers"))


def command(side: str, batch: int, dtype: str, options: argparse.Namespace) -> list[str]:
    sizes = ("--prompt", options.prompt, "--tokens", options.tokens, "--rounds", options.rounds)
    arguments = ["--side", side, "--batch", batch, "--dtype", dtype, *sizes]
    return [sys.executable, __file__, *map(str, arguments)]


def run(side: str, batch: int, dtype: str, prompt: int, tokens: int, rounds: int) -> None:
    """One side in a process of its own: the median of rounds."""
    import resource
    import statistics
    import time

    import numpy as np

    ids = np.random.default_rng(0).integers(50257, size=(batch, prompt))
    generate = zoo_side(ids, dtype, tokens) if side == "zoo" else torch_side(ids, dtype, tokens, side)
    assert generate() == (batch, prompt + tokens)
    print("compiled", flush=True)
    times, used = [], []
    for _ in range(rounds):
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        generate()
        times.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_SELF)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seconds = statistics.median(times)
    figures = {"seconds": seconds, "tokens": batch * tokens / seconds, "cpu": statistics.median(used)}
    print(json.dumps(figures | {"bound": bound(dtype)}))


def bound(dtype: str) -> float:
    """Tokens a second of one text, if reading the weights were all that it takes."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    size = (124_439_808 - 1024 * 768) * (4 if dtype == "float32" else 2)
    halves = np.split(np.ones(size // 16 * 2, np.float64), 2)
    times = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            start = time.perf_counter()
            list(pool.map(np.max, halves))
            times.append(time.perf_counter() - start)
    return 1 / min(times)


def zoo_side(ids, dtype, tokens):
    import zoo
    from zoo import gpt2

    model = zoo.load("gpt2", param_dtype=dtype)
    return lambda: gpt2.generate(model, ids, max_new_tokens=tokens).shape


def torch_side(ids, dtype, tokens, side):
    import _torchvision  # noqa: F401  # transformers imports it where it is installed
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).to(getattr(torch, dtype)).eval()
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 50256}
    if side == "static":
        # On a CPU transformers compiles nothing by itself.
        model.forward = torch.compile(model.forward)
        options["cache_implementation"] = "static"
    prompts = torch.from_numpy(ids)
    mask = torch.ones_like(prompts)
    return lambda: tuple(model.generate(prompts, attention_mask=mask, **options).shape)


if __name__ == "__main__":
    main()
