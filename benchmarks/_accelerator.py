"""One process of accelerator.py: `card`; `prepare NAME TASK DIRECTORY`; or SIDE NUMBERS TASK BATCH DIRECTORY.

The first prints the card's name, if JAX and PyTorch both see one. The second writes the weights of both
sides, images, and float64's outputs for them. The third writes what it computes for the images where the task
is a forward pass, prints a line when it has compiled, then for each line with a number of calls the seconds
that they take.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Run = Callable[[], object]
CLASSES, PROMPT, TOKENS, RATE = 1000, 32, 128, 1e-3
EXACT = 8  # images that are compared


def card() -> None:
    import jax
    import torch

    if torch.cuda.is_available() and jax.default_backend() == "gpu":
        print(torch.cuda.get_device_name())


def prepare(name: str, task: str, place: str) -> None:
    import jax

    import converters
    import zoo

    model, directory = zoo.load(name), Path(place)
    zoo.save(model, directory / "zoo")
    (directory / "name").write_text(name)
    images = np.random.default_rng(0).normal(size=(EXACT, 224, 224, 3)).astype(np.float32)
    np.save(directory / "images.npy", images)
    if task == "tokens":
        return
    tensors = converters.to_torch(
        model.variables, model.module, jax.ShapeDtypeStruct(images.shape, "float32")
    )
    converters.write_checkpoint(tensors, directory / "weights.pth")
    with jax.enable_x64(True):
        exact = zoo_model("float64", directory)
        outputs = jax.jit(lambda model, x: model(x))(exact, images.astype(np.float64))
        np.save(directory / "exact.npy", outputs)


def zoo_forward(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[np.ndarray, Run]:
    import jax

    model = zoo_model(numbers, directory)
    compiled = jax.jit(lambda model, x: model(x))
    x = jax.device_put(np.resize(images, (batch, *images.shape[1:])))
    return np.asarray(compiled(model, images), np.float64), lambda: jax.block_until_ready(compiled(model, x))


def zoo_model(numbers: str, directory: Path):
    import jax

    import zoo

    if numbers == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
    dtype = {"float64": "float64", "bfloat16": "bfloat16"}.get(numbers)
    return zoo.load(f"{directory}/zoo", pretrained=True, dtype=dtype, param_dtype=dtype)


def zoo_training(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[None, Run]:
    """Steps of SGD with momentum; bfloat16 computes in it, and keeps parameters in float32."""
    import jax
    import jax.numpy as jnp
    import optax

    model = zoo_model("TF32", directory)
    module = model.module.clone(dtype=jnp.bfloat16 if numbers == "bfloat16" else None)
    params = model.variables["params"]
    others = {name: tree for name, tree in model.variables.items() if name != "params"}
    optimizer = optax.sgd(RATE, momentum=0.9)
    x = jax.device_put(np.resize(images, (batch, *images.shape[1:])))
    labels = jnp.arange(batch) % CLASSES

    def step(params, others, state, key):
        def loss(params):
            variables, names = {"params": params, **others}, [*others]
            logits, changed = module.apply(variables, x, train=True, mutable=names, rngs={"dropout": key})
            logits = logits.astype(jnp.float32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), changed

        (value, changed), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), {**others, **changed}, state, value

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    state, key = optimizer.init(params), jax.random.key(0)

    def run() -> float:
        nonlocal params, others, state
        params, others, state, value = compiled(params, others, state, key)
        return jax.block_until_ready(value)

    return None, run


def zoo_tokens(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[None, Run]:
    from zoo import gpt2

    model, ids = zoo_model(numbers, directory), prompts(batch)
    return None, lambda: gpt2.generate(model, ids, max_new_tokens=TOKENS)


def torch_forward(
    numbers: str, directory: Path, images: np.ndarray, batch: int, *, compiled: bool = False
) -> tuple[np.ndarray, Run]:
    import torch

    model = torch_model(numbers, directory)
    dtype = next(model.parameters()).dtype

    def place(given: np.ndarray) -> torch.Tensor:
        # Already (batch, channels, height, width) with the channels last in memory.
        return torch.from_numpy(given).permute(0, 3, 1, 2).to("cuda", dtype)

    call = torch.compile(model) if compiled else model
    x = place(np.resize(images, (batch, *images.shape[1:])))

    def run() -> None:
        with torch.inference_mode():
            call(x)
        torch.cuda.synchronize()

    with torch.inference_mode():
        return model(place(images)).double().cpu().numpy(), run


def torch_compiled(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[np.ndarray, Run]:
    return torch_forward(numbers, directory, images, batch, compiled=True)


def torch_model(numbers: str, directory: Path):
    """torchvision's module with the zoo's weights, channels last."""
    import torch

    from tests.reference.published import declare_operators

    declare_operators()
    from torchvision.models import get_model

    allowed = numbers == "TF32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    model = get_model((directory / "name").read_text())
    model.load_state_dict(torch.load(directory / "weights.pth", weights_only=True), strict=False)
    dtype = torch.bfloat16 if numbers == "bfloat16" else torch.float32
    return model.eval().to("cuda", dtype).to(memory_format=torch.channels_last)


def torch_training(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[None, Run]:
    import torch

    model = torch_model("TF32", directory).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    x = torch.from_numpy(np.resize(images, (batch, *images.shape[1:]))).permute(0, 3, 1, 2).to("cuda")
    labels = torch.arange(batch, device="cuda") % CLASSES

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=numbers == "bfloat16"):
            loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        torch.cuda.synchronize()

    return None, run


def torch_tokens(numbers: str, directory: Path, images: np.ndarray, batch: int) -> tuple[None, Run]:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.backends.cuda.matmul.allow_tf32 = numbers == "TF32"
    dtype = torch.bfloat16 if numbers == "bfloat16" else torch.float32
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).to("cuda", dtype).eval()
    ids = torch.from_numpy(prompts(batch)).to("cuda")
    options = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False, "pad_token_id": 50256}

    def run() -> None:
        model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        torch.cuda.synchronize()

    return None, run


def prompts(batch: int) -> np.ndarray:
    return np.random.default_rng(0).integers(50257, size=(batch, PROMPT))


TASKS = {
    ("zoo", "forward"): zoo_forward,
    ("zoo", "training"): zoo_training,
    ("zoo", "tokens"): zoo_tokens,
    ("torch", "forward"): torch_forward,
    ("torch", "training"): torch_training,
    ("torch", "tokens"): torch_tokens,
    ("torch.compile", "forward"): torch_compiled,
}


def main() -> None:
    match sys.argv[1:]:
        case ["card"]:
            card()
        case ["prepare", name, task, directory]:
            prepare(name, task, directory)
        case [side, numbers, task, batch, directory]:
            run(side, numbers, task, int(batch), Path(directory))


def run(side: str, numbers: str, task: str, batch: int, directory: Path) -> None:
    images = np.load(directory / "images.npy")
    found, call = TASKS[side, task](numbers, directory, images, batch)
    if found is not None:
        np.save(directory / f"{side}-{numbers}.npy", found)
    for _ in range(2):
        call()
    print("compiled", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
