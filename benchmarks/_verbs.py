"""One process of verbs.py: SIDE DIRECTORY, with the model and the inputs in the directory.

Prints a line when the first item is done, and figures as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH = 32  # of PyTorch's sides; sentence-transformers' default
WORKERS = 2
Run = Callable[[list[str]], np.ndarray]


def zoo_embed(directory: Path) -> Run:
    import zoo

    model = zoo.load(directory / "encoder", pretrained=True)
    return lambda texts: zoo.embed(model, texts)


def zoo_predict(directory: Path) -> Run:
    import zoo

    model = zoo.load(directory / "resnet18", pretrained=True)
    return lambda files: _scores(zoo.predict(model, files, top=1))


def _scores(found: list[list[tuple[str, float]]]) -> np.ndarray:
    return np.array([best[0][1] for best in found])


def sentence_transformers(directory: Path) -> Run:
    import _torchvision  # noqa: F401 - first
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(directory / "encoder"), device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def transformers(directory: Path) -> Run:
    """Batches of texts that are sorted by their length, as sentence-transformers has them."""
    import _torchvision  # noqa: F401 - first
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(directory / "encoder").eval()
    tokenizer = AutoTokenizer.from_pretrained(directory / "encoder")

    def run(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        made = np.zeros((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                given = tokenizer(
                    [texts[place] for place in places],
                    padding=True,
                    truncation=True,
                    max_length=model.config.max_position_embeddings,
                    return_tensors="pt",
                )
                mask = given["attention_mask"][..., None].float()
                states = model(**given).last_hidden_state
                made[places] = ((states * mask).sum(1) / mask.sum(1)).numpy()
        return made

    return run


def torchvision(directory: Path) -> Run:
    import _torchvision  # noqa: F401 - first
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader
    from torchvision.transforms._presets import ImageClassification

    from tests.reference.published import torchvision_resnet

    model = torchvision_resnet("resnet18").eval()
    model.load_state_dict(torch.load(directory / "resnet18.pth", weights_only=True))
    model = model.to(memory_format=torch.channels_last)
    transform = ImageClassification(crop_size=224)

    class Files(torch.utils.data.Dataset):
        def __init__(self, files: list[str]) -> None:
            self.files = files

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> torch.Tensor:
            with Image.open(self.files[index]) as picture:
                return transform(picture.convert("RGB"))

    def run(files: list[str]) -> np.ndarray:
        loader = DataLoader(Files(files), batch_size=BATCH, num_workers=WORKERS)
        with torch.inference_mode():
            found = [
                model(batch.to(memory_format=torch.channels_last)).softmax(-1).max(-1).values
                for batch in loader
            ]
        return torch.cat(found).numpy()

    return run


SIDES = {
    "embed": {
        "zoo.embed": zoo_embed,
        "sentence-transformers": sentence_transformers,
        "transformers": transformers,
    },
    "predict": {"zoo.predict": zoo_predict, "torchvision": torchvision},
}


class Compilations:
    """Counts what XLA compiles."""

    def __init__(self) -> None:
        self.count = 0
        if "jax" in sys.modules:
            from jax import monitoring

            monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, seconds: float, **details: object) -> None:
        self.count += event.endswith("backend_compile_duration")


def peak() -> float:
    """Most memory of the process, in GB; not `ru_maxrss`, which begins with that of the one that started it.

    Workers are not counted: most of their memory is shared with the process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def main() -> None:
    side, where = sys.argv[1], Path(sys.argv[2])
    verb = next(verb for verb, sides in SIDES.items() if side in sides)
    inputs = json.loads((where / f"{verb}.json").read_text())
    run = SIDES[verb][side](where)
    loaded = peak()
    compilations = Compilations()
    run(inputs[:1])
    print("first", flush=True)
    compilations.count = 0
    start = time.perf_counter()
    cpu = time.process_time()
    found = run(inputs)
    figures = {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "compilations": compilations.count,
        "loaded": loaded,
        "peak": peak(),
    }
    run(inputs[: len(inputs) // 10])
    figures["again"] = compilations.count - figures["compilations"]
    np.save(where / f"{side}.npy", found)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
