"""A step of fine-tuning GPT-2 and BERT at their smallest, all or a part of it, against PyTorch's.

    python benchmarks/steps.py [--batch 8] [--length 128] [--rounds 5]
    python benchmarks/steps.py --agree

Weights are random, which costs the same as trained ones; dropout is as published. Each side has a process
of its own, with AdamW; seconds are the median of steps after the first, memory is the process's peak without
what imports take. With `--agree`, both sides take ten steps of SGD from equal weights in float64, without
dropout, and how far the weights are from each other in the end is printed.
"""

import argparse
import json
import statistics
import sys
import time

import _harness
import numpy as np

# What is trained of a model where not all of it is, by the names of both sides; everything else is frozen.
PARTS = {
    "gpt2": ("gpt2", "h_11|ln_f", r"transformer\.(h\.11|ln_f)\..*"),
    "bert": ("bert-base-uncased", "pooler|classifier", r"(bert\.pooler|classifier)\..*"),
}
BERT = {"head": "classification", "num_classes": 2}
NO_DROPOUT = {
    "gpt2": ("embedding_dropout", "dropout", "attention_dropout"),
    "bert": ("dropout", "attention_dropout"),
}
TORCH_DROPOUT = {
    "gpt2": ("embd_pdrop", "resid_pdrop", "attn_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}
STEPS, RATE = 10, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--agree", action="store_true")
    parser.add_argument("--side", nargs=3)
    options = parser.parse_args()
    if options.agree:
        for name in PARTS:
            print(f"{name}: {agree(name):.1e} of the largest weight, after {STEPS} steps of SGD in float64")
        return
    if options.side:
        side, name, part = options.side
        run(side, name, part == "a part", options.batch, options.length, options.rounds)
        return
    rows = []
    sizes = [f"--{name}={getattr(options, name)}" for name in ("batch", "length", "rounds")]
    for name in PARTS:
        commands = {
            f"{side}, {part}": [sys.executable, __file__, *sizes, "--side", side, name, part]
            for part in ("all of it", "a part")
            for side in ("zoo", "torch")
        }
        for title, found in _harness.in_turns(commands, rounds=1).items():
            rows.append(
                (
                    f"{name}: {title}",
                    f"{found['seconds']:.2f}",
                    f"{found['memory'] / 1e9:.2f}",
                    f"{found['state'] / 1e6:,.1f}",
                    f"{found['flops'] / 1e9:,.0f}" if found["flops"] else "",
                )
            )
    header = (
        f"{options.batch} x {options.length} tokens",
        "s a step",
        "GB",
        "optimizer's MB",
        "GFLOP, as XLA counts",
    )
    print(_harness.table(header, rows))
    print(_harness.machine("jax", "flax", "optax", "torch", "transformers"))


def batch_of(name: str, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and what they should give: the next tokens, or one of two classes."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30000, size=(batch, length + 1))
    return ids[:, :-1], ids[:, 1:] if name == "gpt2" else rng.integers(2, size=batch)


def run(side: str, name: str, part: bool, batch: int, length: int, rounds: int) -> None:
    """One side in a process of its own."""
    ids, targets = batch_of(name, batch, length)
    make = {"zoo": zoo_side, "torch": torch_side}[side]
    step, state, flops, before = make(name, part, ids, targets)
    assert np.isfinite(step())
    print("compiled", flush=True)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        assert np.isfinite(step())
        times.append(time.perf_counter() - start)
    figures = {
        "seconds": statistics.median(times),
        "memory": peak() - before,
        "state": state(),
        "flops": flops,
    }
    print(json.dumps(figures))


def peak() -> int:
    """The most memory that this process ever had."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def zoo_loss(name, module, ids, targets, train):
    """The loss as a function of the params and a key."""
    import optax

    def loss(params, key):
        found = module.apply({"params": params}, ids, train=train, rngs={"dropout": key}).logits
        return optax.softmax_cross_entropy_with_integer_labels(found, targets).mean()

    return loss


def zoo_side(name, part, ids, targets):
    import jax
    import optax

    import zoo

    before = peak()
    entry, pattern, _ = PARTS[name]
    model = zoo.load(entry, **(BERT if name == "bert" else {}))
    params = model.variables["params"]
    groups = {"trained": pattern, "frozen": ".*"} if part else {"trained": ".*"}
    labels = zoo.partition(model.variables, groups)
    chains = {"trained": optax.adamw(1e-5), "frozen": optax.set_to_zero()}
    optimizer = optax.multi_transform({group: chains[group] for group in groups}, labels)
    loss = zoo_loss(name, model.module, ids, targets, train=True)

    def step(params, state, key):
        value, gradients = jax.value_and_grad(loss)(params, key)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    state = jax.jit(optimizer.init)(params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, jax.random.key(0)).compile()
    (costs,) = (
        [compiled.cost_analysis()] if isinstance(compiled.cost_analysis(), dict) else compiled.cost_analysis()
    )
    keys = iter(jax.random.split(jax.random.key(1), 1000))
    del model

    def take():
        nonlocal params, state
        params, state, value = compiled(params, state, next(keys))
        return float(value)

    return take, lambda: sum(leaf.nbytes for leaf in jax.tree.leaves(state)), costs["flops"], before


def twin(name, **options):
    """The same model of transformers."""
    import _torchvision  # noqa: F401  # transformers imports it where it is installed
    import transformers

    if name == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**options))
    return transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=2, **options))


def torch_side(name, part, ids, targets):
    import re

    import torch
    import transformers  # noqa: F401  # its imports are not counted

    before = peak()
    model = twin(name).train()
    for path, parameter in model.named_parameters():
        parameter.requires_grad_(not part or re.fullmatch(PARTS[name][2], path) is not None)
    adamw = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-5)
    tokens, wanted = torch.from_numpy(ids), torch.from_numpy(targets)

    def take():
        adamw.zero_grad()
        value = torch_loss(model, tokens, wanted)
        value.backward()
        adamw.step()
        return float(value.detach())

    def state():
        return sum(
            each.nbytes for kept in adamw.state.values() for each in kept.values() if torch.is_tensor(each)
        )

    return take, state, 0, before


def torch_loss(model, tokens, wanted):
    from torch.nn import functional as F

    logits = model(tokens).logits
    return F.cross_entropy(logits.flatten(0, -2), wanted.flatten())


def agree(name: str) -> float:
    """Returns the distance of weights from each other after equal steps from equal weights."""
    import jax
    import optax
    import torch

    import converters
    import zoo

    ids, targets = batch_of(name, 2, 32)
    model = twin(name, **dict.fromkeys(TORCH_DROPOUT[name], 0.0)).double().train()
    start = {
        path: tensor.numpy().copy() for path, tensor in model.state_dict().items() if path != "lm_head.weight"
    }
    family, layout = zoo.gpt2 if name == "gpt2" else zoo.bert, "transformers"
    options = {"names": family.TORCH_NAMES[layout]}
    with jax.enable_x64(True):
        config = (BERT if name == "bert" else {}) | dict.fromkeys(NO_DROPOUT[name], 0.0)
        module = zoo.load(PARTS[name][0], **config).module
        params = jax.device_put(converters.convert(start, module, ids, **options)["params"])
        loss, sgd = zoo_loss(name, module, ids, targets, train=True), optax.sgd(RATE)

        @jax.jit
        def step(params):
            gradients = jax.grad(loss)(params, jax.random.key(0))
            updates, _ = sgd.update(gradients, sgd.init(params), params)
            return optax.apply_updates(params, updates)

        for _ in range(STEPS):
            params = step(params)
        ours = converters.to_torch({"params": jax.tree.map(np.asarray, params)}, module, ids, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch_loss(model, torch.from_numpy(ids), torch.from_numpy(targets)).backward()
        optimizer.step()
    theirs = {path: tensor.numpy() for path, tensor in model.state_dict().items()}
    assert any(not np.array_equal(theirs[path], start[path]) for path in start)
    largest = max(np.abs(theirs[path]).max() for path in ours)
    return max(np.abs(ours[path] - theirs[path]).max() for path in ours) / largest


if __name__ == "__main__":
    main()
