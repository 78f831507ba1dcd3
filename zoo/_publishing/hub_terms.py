"""Words of the Hub's model cards and those of manifests, for the same data sets, splits and licenses."""

import re

# Name in recipes and metrics -> the Hub's name, and the one for people.
DATASETS = {
    "mnist": ("ylecun/mnist", "MNIST"),
    "cifar10": ("uoft-cs/cifar10", "CIFAR-10"),
    "imagenet1k": ("ILSVRC/imagenet-1k", "ImageNet-1k"),
    "tiny_shakespeare": ("karpathy/tiny_shakespeare", "Tiny Shakespeare"),
}
SPLITS = {"val": "validation"}  # the others have one name
METRIC = re.compile(rf"({'|'.join(DATASETS)})_(test|val|train)_(\w+)")
# The Hub's id -> SPDX's.
LICENSES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc0-1.0": "CC0-1.0",
    "gpl-3.0": "GPL-3.0",
}


def metric_name(dataset: str, split: str | None, metric: str) -> str:
    """Returns a manifest's name of a metric, such as `imagenet1k_val_accuracy`.

    Args:
        dataset: The Hub's name of the data set.
        split: The Hub's name of its split.
        metric: Kind of the metric, such as "accuracy".
    """
    known = {hub.lower().rpartition("/")[2]: name for name, (hub, _) in DATASETS.items()}
    short = dataset.lower().rpartition("/")[2]
    splits = {hub: name for name, hub in SPLITS.items()}
    parts = (known.get(short, short), splits.get(split or "", split or ""), metric)
    return "_".join(re.sub("[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts if part)
