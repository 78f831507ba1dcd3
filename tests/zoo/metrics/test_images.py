"""FID, Inception Score and LPIPS: what the networks take, and what is made of their answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import zoo
from tests.equivalence import randomise, state_dict
from tests.reference.classics import LPIPS
from zoo import inception
from zoo._loading import weights
from zoo.metrics import fid, image_statistics, inception_score, lpips
from zoo.metrics.pictures import before_head, prepared, resized

BYTES = np.random.default_rng(3).integers(256, size=(12, 9, 13, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    """FID's network with few blocks; shapes of its arrays alone."""
    module = inception.create(blocks=("Mixed_6a", "Mixed_7a"), num_classes=6, pooling="tensorflow")
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 75, 75, 3)))
    return zoo.Model(module, variables, zoo.info("inception_fid"))


@pytest.fixture(scope="module")
def digits():
    return zoo.load("cnn_mnist", pretrained=True)


def test_images_are_resized_as_tensorflow_1_does():
    """Pixel i of n is at i / n, without a half; the last pixel goes on beyond the edge."""
    row = np.array([0.0, 10.0, 40.0])
    found = resized(jnp.asarray(row.reshape(1, 1, 3, 1)), 1, 6)
    assert found[0, 0, :, 0].tolist() == [0, 5, 10, 25, 40, 40]
    smaller = resized(jnp.arange(8.0).reshape(1, 8, 1, 1), 4, 1)
    assert smaller[0, :, 0, 0].tolist() == [0, 2, 4, 6]  # without an average


def test_fids_network_takes_images_of_any_size(network):
    found = prepared(network, jnp.asarray(BYTES[:2]))
    assert found.shape == (2, 299, 299, 3)
    np.testing.assert_allclose(found[:, 0, 0], (BYTES[:2, 0, 0] - 128.0) / 128, atol=1e-6)
    floats = prepared(network, jnp.asarray(BYTES[:2] / 255, jnp.float32))
    np.testing.assert_allclose(found, floats, atol=1e-6)
    gray = prepared(network, jnp.asarray(BYTES[:2, :, :, :1]))
    np.testing.assert_array_equal(gray[..., 2], found[..., 0])


def test_features_are_what_the_head_reads(network, digits):
    x = jnp.asarray(np.random.default_rng(4).random((2, 28, 28, 1)), jnp.float32)
    headless = digits.module.clone(num_classes=0)
    hidden = jax.jit(before_head)(digits, x)
    np.testing.assert_allclose(hidden, jax.jit(headless.apply)(digits.variables, x), rtol=1e-5)
    maps = jax.eval_shape(before_head, network, jnp.zeros((2, 80, 75, 3)))
    assert maps.shape == (2, 1184)
    with pytest.raises(zoo.ZooError, match="'vae_mnist' has no head, and so no features before it"):
        before_head(zoo.load("vae_mnist"), x)


def test_scores_and_statistics_take_their_features_from_one_network(digits):
    """A classifier of the zoo, by name or as a model; FID's network itself is too slow for a test."""
    rng = np.random.default_rng(5)
    a = rng.integers(256, size=(40, 28, 28, 1), dtype=np.uint8)
    b = (rng.random((30, 28, 28, 1)) ** 2).astype(np.float32)
    real = image_statistics(a, model=digits, batch_size=16)
    assert real.count == 40
    assert real.mean.shape == (256,)
    found = fid(b, real, model=digits)
    assert found == pytest.approx(fid(iter(a), b, model="cnn_mnist"), rel=1e-6)
    assert fid(a, a, model=digits) < 1e-6 < found

    logits = torch.tensor(np.asarray(jax.jit(zoo.Model.__call__)(digits, a / np.float32(255)))).double()
    shuffled = logits[np.random.RandomState(2020).permutation(40)]
    p = shuffled.softmax(1)
    kl = [(c * (c.log() - c.mean(0, keepdim=True).log())).sum(1).mean().exp() for c in p.chunk(4)]
    score = inception_score(a, model=digits, splits=4, batch_size=16)
    np.testing.assert_allclose(score, (np.mean(kl), np.std(kl)), rtol=1e-5)
    with pytest.raises(zoo.ZooError, match="splits=41 of 40 images; expected 1 to 40"):
        inception_score(a, model=digits, splits=41)


def test_what_is_no_image_is_refused(digits):
    with pytest.raises(zoo.ZooError, match="images are int32; expected uint8, or floats in"):
        fid(np.zeros((3, 28, 28, 1), np.int32), np.zeros((3, 28, 28, 1), np.int32), model=digits)
    with pytest.raises(zoo.ZooError, match=r"images of shape \(64, 28, 28\); expected \(batch, height"):
        fid(np.zeros((3, 28, 28)), np.zeros((3, 28, 28)), model=digits)


TAPS = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}


@pytest.fixture(scope="module")
def perceptual():
    """LPIPS from two files, as its entry has them: of the linear layers, and of the classifier."""
    twin = randomise(LPIPS("alexnet", TAPS)).float().eval()
    tensors = {name: array.astype(np.float32) for name, array in state_dict(twin).items()}
    heads = {name: each for name, each in tensors.items() if name.startswith("lin")}
    files = {"alexnet": {name[4:]: each for name, each in tensors.items() if name not in heads}}
    files["alexnet"]["classifier.6.bias"] = np.zeros(1000, np.float32)
    files["lpips_alex"] = heads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "read", lambda located, *_, **__: files[located.entry.name])
        return zoo.load("lpips_alex", pretrained=True), twin


def test_lpips_is_loaded_from_its_file_and_the_classifiers(perceptual):
    model, twin = perceptual
    a, b = np.random.default_rng(6).integers(256, size=(2, 3, 33, 40, 3), dtype=np.uint8)
    b[2] = a[2]
    with torch.no_grad():
        first, second = (torch.from_numpy(x).movedim(-1, 1).float() / 127.5 - 1 for x in (a, b))
        expected = twin(first, second).numpy()
    found = lpips(a, b, model=model, batch_size=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[2] == 0
    assert model.num_params == zoo.info("lpips_alex").num_params


def test_lpips_of_equal_images_has_a_gradient(perceptual):
    """As a loss: the norm of features that are 0 has none in PyTorch."""
    model, _ = perceptual
    x = jnp.zeros((1, 31, 31, 3))
    gradient = jax.jit(jax.grad(lambda x: model(x, jnp.zeros_like(x)).sum()))(x)
    assert np.abs(gradient).max() < 1e-8


def test_what_lpips_cannot_compare_is_refused(perceptual, digits):
    model, _ = perceptual
    x = jnp.zeros((2, 33, 33, 3))
    with pytest.raises(zoo.ZooError, match="images_a and images_b are not as many"):
        lpips(x, x[:1], model=model)
    with pytest.raises(zoo.ZooError, match="'cnn_mnist' gives no distances of images"):
        lpips(x, x, model=digits)
    with pytest.raises(zoo.ZooError, match="of at least 31 pixels each way"):
        model(x[:, :30], x[:, :30])
    with pytest.raises(zoo.ZooError, match=r"images of shapes \(2, 33, 33, 3\) and \(1, 33"):
        model(x, x[:1])
    with pytest.raises(zoo.ZooError, match="no net 'resnet'; choose one of alex, vgg, squeeze"):
        zoo.lpips.create(net="resnet")
