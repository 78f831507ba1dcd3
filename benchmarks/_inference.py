"""One process of inference.py: CONTENDER NAME BATCH DIRECTORY, which has NAME.pth and NAME-BATCH.onnx.

Prints its logits, then for each line with a number of calls the seconds that they take.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Run = Callable[[], np.ndarray]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def zoo(name: str, images: np.ndarray, directory: Path, *, option: bool = True, folded: bool = True) -> Run:
    import jax

    import zoo

    model = zoo.convert(directory / f"{name}.pth", model=name)
    if folded:
        model = zoo.fold_batch_norm(model)
    options = zoo.compiler_options() if option else {}
    compiled = jax.jit(lambda model, x: model(x), compiler_options=options).lower(model, images).compile()
    return lambda: np.asarray(compiled(model, images))


def plain(name: str, images: np.ndarray, directory: Path) -> Run:
    return zoo(name, images, directory, option=False, folded=False)


def with_option(name: str, images: np.ndarray, directory: Path) -> Run:
    return zoo(name, images, directory, folded=False)


def torch_eager(name: str, images: np.ndarray, directory: Path, *, compiled: bool = False) -> Run:
    import torch

    torch.set_num_threads(CORES)
    model = torchvision_model(name, directory).to(memory_format=torch.channels_last)
    # Already (batch, channels, height, width) with the channels last in memory.
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    call = torch.compile(model) if compiled else model

    def run() -> np.ndarray:
        with torch.inference_mode():
            return call(x).numpy()

    return run


def torch_compiled(name: str, images: np.ndarray, directory: Path) -> Run:
    return torch_eager(name, images, directory, compiled=True)


def onnx(name: str, images: np.ndarray, directory: Path) -> Run:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(directory / f"{name}-{len(images)}.onnx", settings)
    feed = {session.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    return lambda: session.run(None, feed)[0]


def torchvision_model(name: str, directory: Path):
    """torchvision's module with the zoo's weights; what Swin transformers compute, files may lack."""
    import torch

    from tests.reference import published

    model = published.torchvision_model(name)
    tensors = torch.load(directory / f"{name}.pth", weights_only=True)
    missing, left = model.load_state_dict(tensors, strict=False)
    wrong = [*left, *({*missing} & dict(model.named_parameters()).keys())]
    if wrong:
        raise ValueError(f"{name}: tensors do not fit: {', '.join(wrong)}")
    return model.eval()


FOLDED = "zoo, option, folded"
CONTENDERS = {
    "zoo": plain,
    "zoo, option": with_option,
    FOLDED: zoo,
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "ONNX Runtime": onnx,
}


def example(batch: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, 224, 224, 3)).astype(np.float32)


def main() -> None:
    contender, name, batch, directory = sys.argv[1:]
    run = CONTENDERS[contender](name, example(int(batch)), Path(directory))
    run()
    print(json.dumps(run().tolist()), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
