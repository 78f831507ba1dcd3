"""Share of the digits drawn by the VAE that the CNN reads as the class that was asked for."""

import sys

import numpy as np

import zoo
from zoo.vae import sample

COUNT = 1_000  # digits of each class
SEED = 0


def main(generator: str = "vae_mnist", reader: str = "cnn_mnist") -> None:
    vae, cnn = (zoo.load(name, pretrained=True) for name in (generator, reader))
    labels = np.repeat(np.arange(vae.module.num_classes), COUNT)
    right = np.asarray(cnn(sample(vae, labels, seed=SEED)).argmax(-1)) == labels
    print(f"{len(labels):,} digits of {generator}, read by {reader}")
    print("class     right")
    for label, share in enumerate(right.reshape(-1, COUNT).mean(1)):
        print(f"{label}         {share:.4f}")
    print(f"all       {right.mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
