import subprocess
import sys

import zoo

NAMES = [
    *("Entry", "Model", "info", "list_models", "load", "preprocess", "publish", "save", "tokenizer"),
    *("feature_gradients", "features", "graft", "partition", "to_nnx"),
    *("fsdp", "tensor_parallel", "predict_all"),
    *("BatchNorm", "verify", "write_golden"),
    *("compiler_options", "fold_batch_norm", "unfold_batch_norm"),
    *("ManifestError", "PublishError", "UnknownModelError", "WeightsError", "ZooError"),
]

IMPORTED = """
import sys, zoo
heavy = {"torch", "orbax", "huggingface_hub", "matplotlib", "optax", "PIL", "typer", "tokenizers"}
found = heavy & {name.partition(".")[0] for name in sys.modules}
families = {"zoo.mlp", "zoo.cnn", "zoo.vae", "zoo.cli", "zoo.training"} & sys.modules.keys()
assert not found and not families, (found, families)
zoo.load(sys.argv[1], pretrained=True)
assert zoo.gpt2.create and "zoo.gpt2" in sys.modules and not hasattr(zoo, "gpt") and not hasattr(zoo, "_gpt")
found = heavy & {name.partition(".")[0] for name in sys.modules}
assert not found, found
"""


def test_the_public_names_are_these():
    assert sorted(zoo.__all__) == sorted(NAMES)
    assert all(getattr(zoo, name).__doc__ for name in NAMES)


def test_importing_and_loading_import_nothing_heavy(saved):
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTED, str(saved["mlp_mnist"])], check=True)
