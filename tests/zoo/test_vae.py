import numpy as np
import pytest

import zoo
import zoo.vae


@pytest.fixture(scope="module")
def model(saved):
    return zoo.load(saved["vae_mnist"], pretrained=True)


def test_samples_are_images_of_the_classes_asked_for(model):
    images = zoo.vae.sample(model, [3, 3, 7])
    assert images.shape == (3, 28, 28, 1)
    assert 0 <= images.min() <= images.max() <= 1
    assert np.any(images[0] != images[1])


def test_the_seed_decides_the_samples(model):
    first, again, other = (zoo.vae.sample(model, [1, 2], seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_the_label_changes_what_is_drawn(model):
    assert np.any(zoo.vae.sample(model, [1]) != zoo.vae.sample(model, [2]))


def test_one_label_draws_one_image(model):
    np.testing.assert_array_equal(zoo.vae.sample(model, 3), zoo.vae.sample(model, [3]))


@pytest.mark.parametrize("labels", [[0.5], [[1, 2]], ["3"]], ids=["fraction", "two axes", "text"])
def test_labels_that_are_no_class_indices_are_refused(model, labels):
    with pytest.raises(zoo.ZooError, match=r"expected class indices, such as \[3, 8\]"):
        zoo.vae.sample(model, labels)


def test_a_model_that_draws_nothing_is_refused_by_name(saved):
    with pytest.raises(zoo.ZooError, match="'mlp_mnist' is no VAE and draws no images"):
        zoo.vae.sample(zoo.load(saved["mlp_mnist"]), [3])


@pytest.mark.parametrize("label", [-1, 10])
def test_a_class_that_the_model_lacks_is_refused(model, label):
    with pytest.raises(zoo.ZooError, match=f"no class {label}; the classes are 0 to 9"):
        zoo.vae.sample(model, [0, label])
