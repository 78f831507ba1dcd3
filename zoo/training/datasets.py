"""The data sets of the recipes: hashes and sizes of their files, and the mirrors that serve them."""

from zoo.training import characters, cifar
from zoo.training.data import Array, DataFile, Dataset, Examples, IdxFile


def _of_cifar(split: str, *batches: Array) -> Examples:
    return Examples(*cifar.decode(batches))


def _of_text(split: str, text: Array) -> Examples:
    return Examples(*characters.windows(text, split))


_TINY_SHAKESPEARE = DataFile(
    "tiny_shakespeare.txt", (1_115_394,), "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
)

DATASETS = {
    "mnist": Dataset(
        name="mnist",
        splits={
            "train": (
                IdxFile(
                    "train-images-idx3-ubyte",
                    (60_000, 28, 28),
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                IdxFile(
                    "train-labels-idx1-ubyte",
                    (60_000,),
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
            ),
            "test": (
                IdxFile(
                    "t10k-images-idx3-ubyte",
                    (10_000, 28, 28),
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                IdxFile(
                    "t10k-labels-idx1-ubyte",
                    (10_000,),
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            ),
        },
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz",
            "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
            "http://yann.lecun.com/exdb/mnist/{}.gz",
        ),
    ),
    "cifar10": Dataset(
        name="cifar10",
        splits={
            "train": (
                DataFile(
                    "data_batch_1.bin",
                    cifar.SHAPE,
                    "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                ),
                DataFile(
                    "data_batch_2.bin",
                    cifar.SHAPE,
                    "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                ),
                DataFile(
                    "data_batch_3.bin",
                    cifar.SHAPE,
                    "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                ),
                DataFile(
                    "data_batch_4.bin",
                    cifar.SHAPE,
                    "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                ),
                DataFile(
                    "data_batch_5.bin",
                    cifar.SHAPE,
                    "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                ),
            ),
            "test": (
                DataFile(
                    "test_batch.bin",
                    cifar.SHAPE,
                    "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                ),
            ),
        },
        mirrors=("https://www.cs.toronto.edu/~kriz/{}",),
        examples=_of_cifar,
        archive=DataFile(
            "cifar-10-binary.tar.gz",
            (170_052_171,),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        pictures=cifar.from_pictures,
    ),
    "tiny_shakespeare": Dataset(
        name="tiny_shakespeare",
        splits={"train": (_TINY_SHAKESPEARE,), "test": (_TINY_SHAKESPEARE,)},
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
        examples=_of_text,
        beside={"tokenizer.json": characters.tokenizer},
    ),
}
