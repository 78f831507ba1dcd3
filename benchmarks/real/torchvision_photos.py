"""From a photo to the five likeliest classes: `zoo predict` against torchvision's own pipeline, by name.

    python -m benchmarks.real.torchvision_photos [--photo FILE] [NAME ...]

torchvision's model has random numbers in every tensor, and logits that differ as trained ones do. Its file is
converted and saved, and the command line classifies the photo, by default one that comes with Matplotlib.
torchvision does with its own transforms, softmax and topk. Prints for each model the largest difference of
the five probabilities, and how far the closest two of the six likeliest are apart; classes in another order
end the run with 1.
"""

from benchmarks import _torchvision  # noqa: F401  declares operators before torchvision asks for them

# isort: split
import argparse
import json
import tempfile
import warnings
from pathlib import Path

import matplotlib.cbook
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner

import zoo
from tests.equivalence import randomise
from zoo.cli.app import app

NAMES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "mnasnet1_0",
    "mobilenet_v3_large",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "swin_t",
    "vit_b_16",
)
SPREAD = 2.0  # standard deviation of the logits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    photo = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    parser.add_argument("--photo", type=Path, default=Path(photo))
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # two models will be initialised otherwise some day
    print("| model | likeliest class | probability | difference | of the closest |")
    print("| --- | --- | ---: | ---: | ---: |")
    same = [compared(name, options.photo) for name in options.names]
    raise SystemExit(not all(same))


def compared(name: str, photo: Path) -> bool:
    """Prints a row of both sides' figures, and returns true if their five likeliest classes are the same."""
    model = randomise(torchvision.models.get_model(name), norms=1.0).float().eval()
    weights = torchvision.models.get_model_weights(name).DEFAULT
    pixels = weights.transforms()(Image.open(photo))[None]
    with torch.no_grad():
        spread = model(pixels).std()
        for tensor in list(model.parameters())[-2:]:  # the last layer's
            tensor.mul_(SPREAD / spread)
        logits = model(pixels)[0]
    scores, indices = logits.softmax(-1).topk(6)
    theirs = [weights.meta["categories"][index] for index in indices[:5]]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, f"{name}.pth")
        torch.save(model.state_dict(), file)
        zoo.save(zoo.convert(file, model=name), Path(directory, name))
        ours = predicted(Path(directory, name), photo)
    found = max(abs(row["probability"] - float(score)) for row, score in zip(ours, scores, strict=False))
    closest = float((scores[:-1] - scores[1:]).min())
    first = ours[0]
    print(
        f"| {name} | {first['class']} | {first['probability']:.6f} | {found:.1e} | {closest:.1e} |",
        flush=True,
    )
    return [row["class"] for row in ours] == theirs


def predicted(directory: Path, photo: Path) -> list[dict]:
    """Returns the rows that `zoo predict` prints."""
    result = CliRunner().invoke(app, ["predict", str(directory), str(photo), "--top", "5", "--json"])
    if result.exit_code:
        raise SystemExit(result.output)
    return json.loads(result.stdout)


if __name__ == "__main__":
    main()
