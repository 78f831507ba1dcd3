"""Files of CLIP and SigLIP beside transformers' own, and the entries of the manifest."""

import json

import jax
import numpy as np
import pytest
import torch

import converters
import zoo
from tests.cases.case import images
from tests.cases.pairs import IMAGE, TEXT, texts
from tests.equivalence import FORWARD, difference, randomise, run_flax, run_torch, state_dict
from tests.reference import pair_models
from zoo._loading import layouts
from zoo._loading.build import build
from zoo._loading.located import Located
from zoo._preprocessing import preprocess

ENTRIES = [name for name in zoo.list_models() if zoo.info(name).family == "clip"]


def test_files_of_openai_convert_both_ways():
    twin = randomise(pair_models.OpenAI(12, pair_models.TEXT, pair_models.IMAGE)).eval()
    module = zoo.clip.create(**IMAGE, **TEXT, projection=12, eos_token_id=2)
    ids, pixels = texts(9, 4, 7), images(3, 32, 32, 3)
    names = zoo.clip.TORCH_NAMES["open_clip"]
    with jax.enable_x64(True):
        variables = converters.convert(state_dict(twin), module, ids, pixels, names=names)
        back = converters.to_torch(variables, module, ids, pixels, names=names)
    assert back.keys() == twin.state_dict().keys()
    assert all(np.array_equal(back[name], each) for name, each in state_dict(twin).items())
    theirs = run_torch(twin, [ids, np.moveaxis(pixels, -1, 1)]).outputs
    ours, *_ = run_flax(module, variables, [ids, pixels])
    errors = [difference(found, expected) for found, expected in zip(ours, theirs, strict=True)]
    print(f"outputs differ by {max(errors):.1e}")
    assert max(errors) <= FORWARD


def test_an_encoder_alone_is_read_of_a_file_of_both():
    twin = randomise(pair_models.OpenAI(12, pair_models.TEXT, pair_models.IMAGE)).eval()
    names, pixels = zoo.clip.TORCH_NAMES["open_clip"], images(3, 32, 32, 3)
    module = zoo.clip.create(**IMAGE, projection=12, head="image")
    with jax.enable_x64(True):
        visual = {name: each for name, each in state_dict(twin).items() if name.startswith("visual.")}
        variables = converters.convert(visual, module, pixels, names=names)
        found = np.asarray(module.apply(variables, pixels).image_embeds)
    theirs = twin.visual(torch.from_numpy(np.moveaxis(pixels, -1, 1))).detach().numpy()
    assert difference(found, theirs) <= FORWARD


@pytest.fixture
def open_clip(tmp_path):
    """A directory of open_clip's, and its config."""
    twin = randomise(pair_models.OpenAI(12, pair_models.TEXT, pair_models.IMAGE)).float()
    converters.write_checkpoint(state_dict(twin), tmp_path / "open_clip_model.safetensors")
    image = {
        "layers": 2,
        "width": 24,
        "head_width": 8,
        "mlp_ratio": 40 / 24,
        "patch_size": 8,
        "image_size": 32,
    }
    text = {"layers": 2, "width": 16, "heads": 2, "mlp_ratio": 2.25, "context_length": 9, "vocab_size": 48}
    return twin, tmp_path, {"embed_dim": 12, "quick_gelu": True, "vision_cfg": image, "text_cfg": text}


def written(directory, config):
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    (directory / "open_clip_config.json").write_text(text)
    return directory


def test_a_directory_of_open_clip_is_read(open_clip):
    twin, directory, config = open_clip
    model = zoo.load(written(directory, config), pretrained=True)
    ids, pixels = texts(9, 4, 7), images(3, 32, 32, 3).astype(np.float32)
    expected = twin(torch.from_numpy(ids), torch.from_numpy(np.moveaxis(pixels, -1, 1).copy()))[2:]
    found = model(ids, pixels)
    np.testing.assert_allclose(found.text_embeds, expected[0].detach(), atol=1e-6)
    np.testing.assert_allclose(found.image_embeds, expected[1].detach(), atol=1e-6)
    how = model.entry.preprocess
    assert (how.resize, how.crop, how.interpolation, how.std) == (32, 32, "bicubic", (0.25,) * 3)
    alone = zoo.load(directory, head="image", pretrained=True)(pixels).image_embeds
    unit = alone / np.linalg.norm(alone, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit, found.image_embeds, atol=1e-6)


def test_what_open_clip_has_and_the_zoo_does_not_is_refused(open_clip):
    _, directory, config = open_clip
    config["vision_cfg"]["timm_model_name"] = "vit_base"
    config["text_cfg"]["pool_type"] = "last"
    with pytest.raises(
        zoo.ManifestError, match=r"(?s)timm_model_name: 'vit_base'; nobody.*pool_type: 'last'; the zoo has"
    ):
        zoo.load(written(directory, config))
    with pytest.raises(zoo.ManifestError, match="has no model_cfg with vision_cfg and text_cfg"):
        zoo.load(written(directory, {}))


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_have_the_parameters_and_tensors_of_transformers(name):
    entry = zoo.info(name)
    twin = pair_models.entry_of_library(
        "SiglipModel" if name.startswith("siglip") else "CLIPModel", entry.config
    )
    assert sum(each.numel() for each in twin.parameters()) == entry.num_params
    tensors = {
        name: np.broadcast_to(np.float32(0), tuple(each.shape)) for name, each in twin.state_dict().items()
    }
    fit, notes, _, lacking = layouts.fitted(entry, tensors, build(entry)[0])
    assert not notes
    assert not lacking
    arrays = [array for link in fit.links for array in link.arrays]
    assert sum(int(np.prod(array.shape)) for array in arrays) == entry.num_params


def test_an_entry_that_does_not_say_how_pictures_become_its_input_has_its_repositorys_file(monkeypatch):
    """As its tokenizer: nobody has published what SigLIP 2's says."""
    name, said = "siglip2-base-patch16-224", {"image_processor_type": "SiglipImageProcessor", "resample": 2}
    read = {"preprocessor_config.json": json.dumps(said).encode()}
    monkeypatch.setattr(preprocess, "companion", lambda located, file: read.get(file))
    how = preprocess.preprocess_located(Located(entry=zoo.info(name))).entry.preprocess
    assert (how.resize, how.interpolation, how.mean) == ((224, 224), "bilinear", (0.5, 0.5, 0.5))
    read.clear()
    with pytest.raises(zoo.ZooError, match="does not say how images become its input"):
        preprocess.preprocess_located(Located(entry=zoo.info(name)))


WRONG = {
    "no variant 'blip'; choose one of clip, siglip": {"variant": "blip"},
    "no head 'maps'; choose one of both, text, image": {"head": "maps"},
    r"image_size=\(30, 30\); expected multiples of \(8, 8\)": {"image_size": 30},
    "image_width=25; expected a multiple of 3 heads": {"image_width": 25},
    "text_width=17; expected a multiple of 2 heads": {"text_width": 17},
    "projection=0; expected 1 or more": {"projection": 0},
    "projection=16; expected 24, image_width=": {"variant": "siglip"},
    "no activation named 'swish'": {"text_activation": "swish"},
}


@pytest.mark.parametrize("message", WRONG)
def test_impossible_settings_are_refused(message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.clip.create(**{**IMAGE, **TEXT, **WRONG[message]})
