import jax
import numpy as np

from zoo.training.augment import flip, shift


def test_images_move_by_up_to_so_many_pixels_and_zeros_enter():
    image = np.arange(1, 43, dtype=np.uint8).reshape(6, 7, 1)
    moved = np.asarray(shift(jax.random.key(0), jax.numpy.asarray(np.stack([image] * 400)), 2))
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    crops = {
        padded[top : top + 6, left : left + 7].tobytes(): (top, left) for top in range(5) for left in range(5)
    }
    found = [crops[each.tobytes()] for each in moved]
    assert moved.dtype == np.uint8
    assert set(found) == set(crops.values())


def test_about_the_asked_for_share_is_mirrored_left_to_right():
    image = np.arange(42, dtype=np.uint8).reshape(6, 7, 1)
    flipped = np.asarray(flip(jax.random.key(0), jax.numpy.asarray(np.stack([image] * 1000)), 0.25))
    mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
    np.testing.assert_array_equal(flipped[~mirrored], np.stack([image] * int((~mirrored).sum())))
    assert 200 < mirrored.sum() < 300
