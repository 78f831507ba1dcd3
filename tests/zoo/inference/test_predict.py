"""Classes of pictures, of texts and pairs of them, in any form and number."""

import threading
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo._inference.scores import softmax

NAME = "cnn_mnist"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> zoo.Model:
    return zoo.load(NAME, pretrained=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    names = [str(folder / f"{index}.png") for index in range(7)]
    for name in names:
        Image.fromarray(RNG.integers(0, 256, (28, 28), np.uint8)).save(name)
    return names


def test_each_picture_has_its_likeliest_classes_in_order_whatever_its_form(model, files):
    logits = np.asarray(model(zoo.preprocess(model)(files)), np.float64)
    expected = softmax(logits)
    mixed = [files[0], Image.open(files[1]), np.asarray(Image.open(files[2])), *files[3:]]
    mixed[3] = jnp.asarray(np.asarray(Image.open(files[3])))
    for given in (mixed, iter(mixed)):
        found = zoo.predict(model, given, top=2, batch_size=3)
        assert [[label for label, _ in best] for best in found] == [
            [str(index) for index in np.argsort(-row)[:2]] for row in expected
        ]
        np.testing.assert_allclose(
            [[score for _, score in best] for best in found], np.sort(expected)[:, :-3:-1], rtol=1e-5
        )


def test_one_picture_is_a_list_of_one_and_none_are_none(model, files):
    ((best,),) = zoo.predict(model, files[0], top=1)
    assert type(best[0]) is str
    assert type(best[1]) is float
    assert zoo.predict(model, []) == []
    assert len(zoo.predict(model, np.zeros((2, 28, 28, 1), np.uint8))) == 2


def test_all_pictures_that_cannot_be_read_are_in_one_error(model, files, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    given = [files[0], tmp_path / "bad.jpg", tmp_path / "missing.png"]
    with pytest.raises(
        zoo.ZooError, match=r"2 of 3 inputs:\n  .*bad\.jpg' is no image.*\n  .*missing\.png': No such"
    ):
        zoo.predict(model, given)
    with pytest.raises(zoo.ZooError, match="no picture: list"):
        zoo.predict(model, [[files[0]]])


def test_a_picture_without_a_digit_is_named(model, tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "blank.png")
    with pytest.raises(zoo.ZooError, match=r"blank\.png'?: a picture shows no strokes"):
        zoo.predict(model, tmp_path / "blank.png")


def test_pictures_are_read_no_further_than_a_few_batches_and_threads_end(model, files):
    read = []
    given = (read.append(index) or name for index, name in enumerate(files * 10))
    found = zoo._inference.predict.predictions(
        zoo._inference.subject.subject(model), given, batch_size=2, refused=None
    )
    next(found)
    assert len(read) < 20
    found.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("zoo picture")]


REFUSED = {
    "top": (NAME, {"top": 0}, "top=0; expected 1 or more"),
    "batch": (NAME, {"batch_size": 0}, "batch_size=0; expected 1 or more"),
    "draws": ("vae_mnist", {}, r"'vae_mnist' does not classify pictures; it draws images: zoo\.vae\.sample"),
    "writes": ("gpt_shakespeare", {}, r"does not classify texts; it continues texts: zoo\.generate"),
}


@pytest.mark.parametrize(("name", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_predicted_is_refused(name, options, message, files):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.predict(name, files[0], **options)


def test_a_model_without_classes_or_a_record_says_what_it_lacks(model, files):
    with pytest.raises(zoo.ZooError, match="gives features of pictures"):
        zoo.predict(zoo.load("resnet20_cifar10", num_classes=0), files[0])
    own = zoo.Model(model.module, model.variables)
    with pytest.raises(zoo.ZooError, match="this CNN has no record of what it takes and gives: save it with"):
        zoo.predict(own, files[0])
    with pytest.raises(zoo.ZooError, match="this CNN has no entry"):
        zoo.preprocess(own)


def test_a_module_of_ones_own_that_was_saved_with_its_preprocessing_predicts(model, files, tmp_path):
    own = zoo.Model(model.module, model.variables)
    labels = [f"digit {index}" for index in range(10)]
    zoo.save(
        own, tmp_path / "own", inputs=[np.zeros((1, 28, 28, 1), np.float32)], preprocess=NAME, labels=labels
    )
    loaded = zoo.load(tmp_path / "own", pretrained=True, module=model.module)
    expected = zoo.predict(model, files)
    assert zoo.predict(loaded, files) == [
        [(f"digit {label}", score) for label, score in best] for best in expected
    ]


def test_random_weights_are_told(files, caplog):
    zoo.predict(zoo.load("mlp_mnist"), files[0])
    assert "mlp_mnist has random weights; pretrained=True" in caplog.text


def test_labels_that_are_too_few_are_told(model, files):
    labelled = zoo.Model(model.module, model.variables, replace(model.entry, labels=("cat", "dog")))
    with pytest.raises(
        zoo.ZooError, match="labels for 2 classes and gives 10 logits; save it with a label for each"
    ):
        zoo.predict(labelled, files[0])
