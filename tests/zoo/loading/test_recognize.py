import hashlib
import re

import numpy as np
import pytest
import torch

import converters
import zoo
from converters.checkpoints import as_tensors
from tests.equivalence import state_dict
from tests.reference import published
from zoo._loading import recognize
from zoo._loading.recognize import entry_of_variables, similar_entry
from zoo._saving.plan import plan

ENTRY = """
  {name}:
    family: mlp
    config: {{hidden: [{hidden}], activation: {activation}}}
    inputs: [{{name: images, shape: [1, 28, 28, 1], dtype: float32}}]
    num_params: {count}
    license: Apache-2.0
    source: nowhere
"""


def entry(name: str, hidden: int, activation: str = "relu") -> str:
    return ENTRY.format(name=name, hidden=hidden, activation=activation, count=795 * hidden + 10)


def tensors_of(arrays):
    return as_tensors(arrays, None)


@pytest.fixture
def inspected(monkeypatch):
    """Which entries were looked into, which takes some tenths of a second each."""
    names = []
    target = recognize.target
    monkeypatch.setattr(
        recognize, "target", lambda entry, **more: names.append(entry.name) or target(entry, **more)
    )
    return names


@pytest.mark.parametrize("name", ["mlp_mnist", "cnn_mnist", "vae_mnist"])
def test_a_checkpoint_is_recognised_by_its_names_and_shapes(name, checkpoints):
    target, fit = recognize.recognize(converters.read_checkpoint(checkpoints[name]))
    assert target.entry.name == name
    assert fit.problems == []
    assert similar_entry(converters.read_checkpoint(checkpoints[name])) == name


def test_among_many_entries_only_those_of_the_right_size_are_looked_into(
    checkpoints, use_manifest, inspected
):
    use_manifest("models:" + "".join(entry(f"mlp_{hidden}", hidden) for hidden in range(50, 200)))
    target, _ = recognize.recognize(converters.read_checkpoint(checkpoints["mlp_mnist"]))
    assert target.entry.name == "mlp_128"
    assert inspected == ["mlp_128"]


def test_entries_that_fit_alike_are_all_named(checkpoints, use_manifest, inspected):
    use_manifest(
        "models:" + entry("one", 128) + entry("tagged", 128) + entry("gelu", 128, "gelu") + entry("odd", 12)
    )
    with pytest.raises(zoo.ZooError, match="fits one, tagged, gelu alike, which"):
        recognize.recognize(converters.read_checkpoint(checkpoints["mlp_mnist"]))
    assert len(inspected) == 2


def test_entries_that_differ_in_their_weights_only_are_one_architecture(tmp_path):
    """Whose weights they are, the hash tells; otherwise they are like the plain one's, which is said."""
    twin = published.torchvision_resnet("resnet18")
    tensors = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    converters.write_checkpoint(tensors, tmp_path / "resnet18.pth")
    target, fit = recognize.recognize(converters.read_checkpoint(tmp_path / "resnet18.pth"))
    assert (target.entry.name, fit.problems) == ("resnet18", [])
    assert target.entry.preprocess == zoo.info("resnet18").preprocess
    assert target.entry.class_names[0] == "tench"
    (note,) = target.doubts
    assert re.fullmatch(
        r"takes the preprocessing of 'resnet18'; resnet18\.a1_in1k.* with .*model= or .*", note
    )
    for chosen, doubts in ((None, (note,)), ("resnet18.microsoft", ())):
        notes = plan(tmp_path / "resnet18.pth", preprocess=chosen).conversion.notes
        assert notes[1:] == doubts, notes


def test_the_hash_tells_whose_weights_they_are(checkpoints, use_manifest):
    digest = hashlib.sha256(checkpoints["mlp_mnist"].read_bytes()).hexdigest()
    weights = f"    weights: {{url: 'https://it/x.pth', sha256: {digest}, size: 1}}\n    layout: null\n"
    use_manifest("models:" + entry("one", 128) + entry("theirs", 128) + weights)
    target, _ = recognize.recognize(converters.read_checkpoint(checkpoints["mlp_mnist"]))
    assert target.entry.name == "theirs"


def test_a_head_for_other_classes_and_a_stem_for_other_channels_are_recognised():
    """The preprocessing stays that of the entry, unless the images have other channels."""
    twin = published.torchvision_resnet("resnet18", num_classes=37)
    target, fit = recognize.recognize(tensors_of(state_dict(twin)))
    assert (target.entry.name, target.module.num_classes, fit.problems) == ("resnet18", 37, [])
    assert target.entry.config == {"depth": 18, "num_classes": 37}
    assert target.entry.preprocess == zoo.info("resnet18").preprocess
    assert target.notes[0] == "fits 'resnet18' with num_classes=37"
    twin.conv1 = torch.nn.Conv2d(1, 64, 7, bias=False)
    wrapped = {f"module.model.{name}": tensor for name, tensor in state_dict(twin).items()}
    target, fit = recognize.recognize(tensors_of(wrapped))
    assert target.entry.inputs[0].shape == (1, 224, 224, 1)
    assert target.notes == ("fits 'resnet18' with num_classes=37 and in_channels=1",)
    assert "does not know how pictures" in target.doubts[0]
    assert target.entry.preprocess is None


VIT = """
  {name}:
    family: vit
    config:
      {{image_size: 16, patch_size: 8, width: 24, depth: 1, heads: 3, feed_forward: 48, epsilon: {epsilon}}}
    inputs: [{{name: images, shape: [1, 16, 16, 3], dtype: float32}}]
    num_params: 34696
    weights: {{url: 'https://it/{name}.pth', sha256: unattested, size: 1}}
    layout: {layout}
    license: MIT
    source: nowhere
"""


def test_of_entries_with_the_same_arrays_those_of_the_files_own_names_are_meant(use_manifest):
    """The Hub's ViT computes with another epsilon than timm's."""
    theirs = VIT.format(name="b", epsilon="1.0e-12", layout="transformers")
    use_manifest("models:" + theirs + VIT.format(name="a_timm", epsilon="1.0e-6", layout="timm"))
    twin = published.timm_vit(img_size=16, depth=1, num_classes=5)
    target, fit = recognize.recognize(tensors_of(state_dict(twin)))
    assert (target.entry.name, fit.problems, target.module.num_classes) == ("a_timm", [], 5)


def test_what_is_of_no_architecture_of_the_zoo_is_not_called_near_to_one():
    tensors = tensors_of(state_dict(published.timm_model("ghostnet_050")))
    words = rf"fits these {len(tensors)} tensors, nor .* has the families (\w+, )*mobilenet,"
    with pytest.raises(zoo.ZooError, match=words):
        recognize.recognize(tensors)


def test_what_fits_nothing_is_told_so_with_the_nearest(checkpoints):
    with pytest.raises(zoo.ZooError, match="no entry of the manifest fits these 1 tensors, nor"):
        recognize.recognize(tensors_of({"weight": np.ones(3)}))
    tensors = dict(converters.read_checkpoint(checkpoints["mlp_mnist"]))
    tensors["extra"] = np.ones(3, np.float32)
    with pytest.raises(zoo.ZooError, match="'mlp_mnist' is nearest: model='mlp_mnist' lists 1 problem"):
        recognize.recognize(tensors_of(tensors))
    assert similar_entry(tensors_of(tensors)) is None


def test_the_owner_of_flax_arrays_is_found_by_paths_and_shapes(saved):
    arrays = converters.read_checkpoint(saved["cnn_mnist"] / "model.safetensors")
    assert entry_of_variables(arrays).name == "cnn_mnist"
    with pytest.raises(zoo.ZooError, match="no entry of the manifest has these paths and shapes"):
        entry_of_variables(tensors_of({"params/kernel": np.ones((2, 3))}))


def test_several_owners_are_named(saved, use_manifest):
    use_manifest("models:" + entry("one", 128) + entry("two", 128))
    with pytest.raises(zoo.ZooError, match="one, two has these paths"):
        entry_of_variables(converters.read_checkpoint(saved["mlp_mnist"] / "model.safetensors"))
