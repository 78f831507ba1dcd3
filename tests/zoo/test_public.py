import ast
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import zoo
from zoo._registry import families

NAMES = [
    *("Entry", "Model", "info", "list_models", "load", "preprocess", "publish", "save", "tokenizer"),
    *("transcribe", "feature_gradients", "features", "graft", "from_nnx", "partition", "to_nnx"),
    *("predict", "classify", "embed", "generate", "stream", "chat", "apply_chat_template"),
    *("entities", "answer"),
    *("fsdp", "tensor_parallel", "predict_all", "merge_adapter", "quantize"),
    *("BatchNorm", "convert", "to_torch", "verify", "write_golden"),
    *("compilation_cache", "compiler_options", "fold_batch_norm", "unfold_batch_norm"),
    *("ManifestError", "PublishError", "UnknownModelError", "WeightsError", "ZooError"),
]

IMPORTED = """
import sys, zoo
heavy = {"torch", "orbax", "huggingface_hub", "matplotlib", "optax", "PIL", "typer", "tokenizers", "jinja2"}
heavy |= {"jax", "flax", "numpy"}
found = heavy & {name.partition(".")[0] for name in sys.modules}
families = {"zoo.mlp", "zoo.cnn", "zoo.vae", "zoo.cli", "zoo.metrics", "zoo.training"} & sys.modules.keys()
assert not found and not families, (found, families)
heavy -= {"jax", "flax", "numpy"}
zoo.load(sys.argv[1], pretrained=True)
assert zoo.gpt2.create and "zoo.gpt2" in sys.modules and not hasattr(zoo, "gpt") and not hasattr(zoo, "_gpt")
found = heavy & {name.partition(".")[0] for name in sys.modules}
assert not found, found
"""


FAMILIES = families.names()
# All that PyPI's converters 0.0.1 has; as files of its own, or over those of this one.
FOREIGN = '__version__ = "0.0.1"\n'


def test_the_public_names_are_these():
    assert sorted(zoo.__all__) == sorted([*NAMES, *FAMILIES, "metrics", "training"])
    assert all(getattr(zoo, name).__doc__ for name in NAMES)


def test_dir_shows_what_there_is_and_nothing_else():
    assert dir(zoo) == sorted([*NAMES, *FAMILIES, "metrics", "training", "__version__"])
    assert all(getattr(zoo, name) for name in dir(zoo))
    assert zoo.__version__ == version("flax-zoo")


def test_another_package_named_converters_is_told_in_one_sentence(tmp_path, monkeypatch):
    first = next(node for node in ast.parse(Path(zoo.__file__).read_text()).body if _imports_zoo(node))
    assert [alias.name for alias in first.names] == ["_package"]
    foreign = tmp_path / "converters" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "converters")
    with pytest.raises(ImportError, match=r"is another package .* \(pip uninstall converters, ") as caught:
        runpy.run_path(str(Path(zoo.__file__).with_name("_package.py")))
    assert repr(str(foreign)) in str(caught.value)
    assert "\n" not in str(caught.value)


def _imports_zoo(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith("zoo")


def test_importing_and_loading_import_nothing_heavy(saved):
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTED, str(saved["mlp_mnist"])], check=True)
