import hashlib
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.struct import dataclass
from tokenizers import Tokenizer

import zoo
from zoo.training import DATASETS, DataFile, Dataset, evaluate, load_split
from zoo.training.characters import CHARACTERS, LENGTH, STRIDE, tokenizer

TEXT = ("Now is the winter of our discontent\nMade glorious summer by this sun of York;\n" * 60)[:4000]


@pytest.fixture
def text(data) -> Dataset:
    (data / "text.txt").write_text(TEXT)
    file = DataFile("text.txt", (len(TEXT),), hashlib.sha256(TEXT.encode()).hexdigest())
    return replace(
        DATASETS["tiny_shakespeare"], name="tiny", splits={"train": (file,), "test": (file,)}, mirrors=()
    )


def spelt(tokens: np.ndarray) -> str:
    return "".join(CHARACTERS[token] for token in tokens)


def test_windows_are_text_and_the_characters_that_follow(text, data):
    train, test = (load_split(text, split, data) for split in ("train", "test"))
    assert train.inputs.dtype == train.labels.dtype == np.int32
    assert spelt(train.inputs[0]) == TEXT[:LENGTH]
    assert spelt(train.labels[0]) == TEXT[1 : LENGTH + 1]
    assert spelt(train.inputs[3]) == TEXT[3 * STRIDE : 3 * STRIDE + LENGTH]
    assert spelt(test.inputs[1]) == TEXT[3600 + LENGTH : 3600 + 2 * LENGTH]


def test_what_is_measured_on_is_not_trained_on(text, data):
    train, test = (load_split(text, split, data) for split in ("train", "test"))
    last = (len(train.inputs) - 1) * STRIDE + LENGTH  # the last label's place
    assert last < 3600
    assert test.inputs.shape == (3, LENGTH)  # of the 400 last characters


@dataclass
class Output:
    logits: jax.Array


class Bigrams(nn.Module):
    """Each token's logits depend on the one before it alone."""

    @nn.compact
    def __call__(self, tokens: jax.Array, *, train: bool = False) -> Output:
        return Output(nn.Embed(len(CHARACTERS), len(CHARACTERS))(tokens))


def test_the_loss_is_nats_a_character(text, data, recipe):
    test = load_split(text, "test", data)
    module = Bigrams()
    variables = module.init(jax.random.key(0), jnp.zeros((1, LENGTH), int))
    measured = evaluate(zoo.Model(module, variables), test, replace(recipe, task="next_token"), batch_size=2)
    logits = np.asarray(module.apply(variables, test.inputs).logits, np.float64)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, test.labels)
    assert measured["loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert measured["accuracy"] == pytest.approx((logits.argmax(-1) == test.labels).mean())


def test_the_tokenizer_reads_and_writes_the_same_tokens(text, data):
    tokens = Tokenizer.from_str(tokenizer().decode())
    window = load_split(text, "train", data).inputs[0]
    assert tokens.encode(TEXT[:LENGTH]).ids == window.tolist()
    assert tokens.decode(window.tolist()) == TEXT[:LENGTH]
    with pytest.raises(Exception, match="Missing"):
        tokens.encode("é")
