"""ignore= and missing= of zoo.load: what weights and module may have alone."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest

import converters
import zoo
from zoo._loading.resolve import resolve
from zoo._registry import families

CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT whose pooler has no bias, and that has a tensor of somebody's own."""
    directory = tmp_path_factory.mktemp("bert")
    (directory / "config.json").write_text(json.dumps(CONFIG))
    converters.write_checkpoint({"none": np.ones(1)}, directory / "model.safetensors")
    model = zoo.load(directory, seed=1)
    ids = np.zeros((1, 4), np.int32)
    names = families.torch_names(resolve(directory).entry)["transformers_model"]
    tensors = converters.to_torch(model.variables, model.module, ids, names=names)
    del tensors["pooler.dense.bias"]
    tensors["teacher.weight"] = np.ones(3, np.float32)
    converters.write_checkpoint(tensors, directory / "model.safetensors", overwrite=True)
    return directory


def test_what_differs_is_refused_with_the_keywords_that_allow_it(repository: Path) -> None:
    with pytest.raises(converters.ConversionError, match=r"left over  teacher\.weight"):
        zoo.load(repository, pretrained=True)
    with pytest.raises(converters.ConversionError, match=r"pass missing=\(r'pooler\\\.dense\\\.bias'"):
        zoo.load(repository, pretrained=True, ignore=[r"teacher\..*"])


def test_what_may_be_missing_is_initialised_and_noted(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        model = zoo.load(
            repository, pretrained=True, ignore=[r"teacher\..*"], missing=[r"pooler\.dense\.bias"]
        )
    assert any("initialised anew: params/pooler" in note for note in model.notes)
    assert "initialised anew" in caplog.text
    assert model(np.ones((1, 4), np.int32)) is not None


def test_flax_weights_too(repository: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load("mlp_mnist", seed=1), tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    arrays = dict(converters.read_checkpoint(file))
    bias = next(path for path in arrays if path.endswith("bias"))
    del arrays[bias]
    arrays["params/teacher/kernel"] = np.ones((2, 2), np.float32)
    file.unlink()
    converters.write_checkpoint(arrays, file)
    record = json.loads((tmp_path / "saved" / "config.json").read_text())
    content = file.read_bytes()
    record["weights"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (tmp_path / "saved" / "config.json").write_text(json.dumps(record))
    model = zoo.load(tmp_path / "saved", pretrained=True, ignore=["params/teacher/.*"], missing=[bias])
    assert any(bias in note for note in model.notes)
    with pytest.raises(zoo.WeightsError, match=r"missing    params/.*\n  left over  params/teacher"):
        zoo.load(tmp_path / "saved", pretrained=True)
