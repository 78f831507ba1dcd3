"""A name is resolved once for a call, and a module traced once for a load."""

import re
from collections import Counter

import flax.linen as nn
import jax
import numpy as np
import pytest

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference import text_models
from tests.zoo.loading.test_hub_layout import files
from tests.zoo.loading.test_transformers_config import BERT, GPT2, sentences, write
from tests.zoo.preprocessing.test_text import add_tokenizer
from zoo._inference import text_batches
from zoo._loading import resolve, transformers_config

NAME = "hf://someone/bert"


def embedder(directory, scale=1.0):
    """A repository's files: a text encoder with random weights, as sentence-transformers writes it."""
    twin = randomise(text_models.bert("BertForMaskedLM")).float()
    tensors = {name: tensor * np.float32(scale) for name, tensor in state_dict(twin).items()}
    write(directory, BERT, tensors)
    sentences(directory, ["Transformer", "Pooling", "Normalize"], pooling_mode_mean_tokens=True)
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    return files(add_tokenizer(directory))


@pytest.fixture
def repository(hub, tmp_path):
    """Its commit."""
    return hub.commit("someone/bert", embedder(tmp_path / "bert"))


@pytest.fixture
def calls(monkeypatch):
    """Counts of entries made of a config.json of transformers, and of modules traced."""
    found = Counter()

    def count(owner, name):
        real = getattr(owner, name)

        def counted(*arguments, **options):
            found[name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    count(transformers_config, "flat")
    count(nn.Module, "init")
    return found


def config_requests(hub) -> int:
    return sum(asked.path.endswith("/resolve/main/config.json") for asked in hub.asked)


def test_embedding_resolves_its_repository_once(hub, repository, calls):
    zoo.embed(NAME, ["w5 w6"])
    assert (calls["flat"], config_requests(hub)) == (1, 1)
    assert calls["init"] <= 1  # none where another test has traced the same module
    # Config, modules, pooling, transformer, weights and tokenizer; two that it lacks are asked for once each.
    assert sum("/someone/bert/" in asked.path for asked in hub.asked) <= 19
    hub.asked.clear()
    calls.clear()
    zoo.embed(NAME, ["w5 w6"])
    assert (calls["flat"], calls["init"], len(hub.asked)) == (1, 0, 1)


def test_all_files_are_of_one_commit_although_the_branch_moves(hub, repository, tmp_path, monkeypatch):
    tokenizer_of, moved = text_batches.tokenizer_of, []

    def move_branch(located):
        moved.append(hub.commit("someone/bert", embedder(tmp_path / "newer", scale=1.5)))
        return tokenizer_of(located)

    with monkeypatch.context() as patch:
        patch.setattr(text_batches, "tokenizer_of", move_branch)
        vectors = zoo.embed(NAME, ["w5 w6"])
    assert moved
    assert repository not in moved
    revisions = {found[1] for asked in hub.asked if (found := re.search(r"/resolve/(\w+)/", asked.path))}
    assert revisions == {"main", repository}
    np.testing.assert_array_equal(vectors, zoo.embed(f"{NAME}@{repository}", ["w5 w6"]))
    assert not np.array_equal(vectors, zoo.embed(NAME, ["w5 w6"]))


def test_a_module_is_traced_once(tmp_path, calls):
    directory = write(tmp_path / "gpt2", GPT2, state_dict(randomise(text_models.gpt2()).float()))
    model = zoo.load(directory, pretrained=True)
    assert calls["flat"] == 1
    assert calls["init"] <= 1  # none where another test has traced the same module
    assert model.entry == zoo.info(directory)
    calls.clear()
    zoo.load(directory, pretrained=True)
    assert calls["init"] == 0


def test_parameters_are_counted_only_where_they_are_asked_for(tmp_path, calls):
    directory = write(tmp_path / "gpt2", GPT2, state_dict(randomise(text_models.gpt2()).float()))
    located = resolve.resolve(directory)
    assert (located.counted, located.directory, calls["init"]) == (False, directory, 0)
    leaves = zoo.load(directory, pretrained=True).variables["params"]
    count = sum(array.size for array in jax.tree.leaves(leaves))
    assert resolve.counted(located).entry.num_params == zoo.info(directory).num_params == count


def test_a_token_is_not_shown():
    assert "hf_secret" not in repr(resolve.resolve("mlp_mnist", token="hf_secret"))


@pytest.mark.parametrize(
    "name", ["google-bert/bert-base-uncased", "https://hub.example/google-bert/bert-base-uncased"]
)
def test_a_name_of_the_hub_without_its_scheme_is_refused_with_it(name):
    with pytest.raises(zoo.UnknownModelError, match="written 'hf://google-bert/bert-base-uncased'"):
        zoo.load(name)


def test_a_repository_that_is_a_name_of_the_zoo_is_refused_with_that():
    with pytest.raises(zoo.UnknownModelError, match="The zoo's own 'gpt2'"):
        zoo.load("hf://gpt2")
