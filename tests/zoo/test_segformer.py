"""The entry of SegFormer, and what the architecture refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import zoo
from tests.reference import published
from zoo._loading import layouts
from zoo._loading.build import build

NAME = "segformer-b0-finetuned-ade-512-512"


def test_the_entry_has_the_parameters_and_tensors_of_transformers():
    published.declare_operators()
    import transformers

    with torch.device("meta"):
        twin = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=150))
    entry = zoo.info(NAME)
    tensors = {
        name: np.broadcast_to(np.float32(0), tuple(each.shape))
        for name, each in twin.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    fit, notes, _, lacking = layouts.fitted(replace(entry, layout="transformers5"), tensors, build(entry)[0])
    assert not notes
    assert not lacking
    params = [array for link in fit.links for array in link.arrays if array.path[0] == "params"]
    assert sum(int(np.prod(array.shape)) for array in params) == entry.num_params


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"head": "maps"}, "no head 'maps'; choose one of segmentation, classification, none"),
        ({"heads": [1, 2]}, r"blocks=\[2, 2, 2, 2\] has 4 stages; expected as many widths, heads"),
        ({"heads": [1, 2, 3, 8]}, "3 heads do not divide a width of 160"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(config, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.segformer.create(**config)


def test_images_too_small_for_the_first_attention_and_the_wrong_verb_are_refused():
    model = zoo.load(NAME, widths=[8, 8, 8, 8], heads=[1, 1, 1, 1], blocks=[1, 1, 1, 1], decoder_width=8)
    with pytest.raises(zoo.ZooError, match="of at least 32 pixels each way"):
        model(np.zeros((1, 24, 64, 3), np.float32))
    with pytest.raises(zoo.ZooError, match="does not classify pictures; it labels their pixels"):
        zoo.predict(model, np.zeros((9, 9, 3), np.uint8))
