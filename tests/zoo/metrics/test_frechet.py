"""The Frechet distance and the statistics that it is made of."""

import numpy as np
import pytest

import zoo
from zoo.metrics import Statistics, frechet_distance, statistics


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 12))
    return rng.normal(size=(700, 12)) @ mix + 100, rng.normal(size=(900, 12)) + 99


def test_statistics_are_numpys_whatever_comes_at_a_time(features):
    array = features[1]
    for given in (array, iter(array), array.astype(np.float32)):
        found = statistics(given)
        exact = 1e-12 if not (isinstance(given, np.ndarray) and given.dtype == np.float32) else 1e-6
        assert found.count == 900
        np.testing.assert_allclose(found.mean, array.mean(0), rtol=exact)
        np.testing.assert_allclose(found.covariance, np.cov(array, rowvar=False), rtol=exact, atol=exact)


def test_the_distance_is_that_of_the_products_eigenvalues(features):
    """As torch-fidelity computes it, where both covariances have an inverse."""
    a, b = features
    mean = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    expected = mean @ mean + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-11)
    assert frechet_distance(b, statistics(a)) == pytest.approx(expected, rel=1e-11)


def test_independent_features_have_the_distances_of_their_deviations():
    """The sum of (m - m')^2 + (s - s')^2, of each feature."""
    one = Statistics(count=9, mean=np.zeros(3), covariance=np.diag([1.0, 4.0, 0.0]))
    other = Statistics(count=9, mean=np.array([2.0, 0, 0]), covariance=np.diag([9.0, 4.0, 16.0]))
    assert frechet_distance(one, other) == pytest.approx(4 + 4 + 16, rel=1e-14)


def test_fewer_examples_than_features_lose_no_digits():
    """Their covariances have no inverse; features that are moved are as far as they are moved."""
    a = np.random.default_rng(1).normal(size=(20, 200)) * 1000
    assert 0 <= frechet_distance(a, a) < 1e-11 * a.var(0).sum()
    assert frechet_distance(a, a + 100) == pytest.approx(200 * 100**2, rel=1e-7)


REFUSED = {
    "one": (np.ones((1, 3)), "found features of 1 examples; a covariance takes two or more."),
    "none": ([], "found features of 0 examples"),
    "maps": (np.ones((4, 3, 2)), r"features of shape \(3, 2\); expected vectors of one width"),
    "ragged": ([np.ones(3), np.ones(2)], r"features of shape \(2,\) and \(3,\); expected vectors"),
    "later": ([*np.ones((512, 3)), *np.ones((9, 2))], "of width 2 after others of width 3"),
    "no numbers": (np.full((4, 3), np.nan), "infinite or no numbers"),
    "other model": (np.ones((4, 5)), "features of widths 5 and 3 have no distance"),
}


@pytest.mark.parametrize(("features", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_distance_is_refused(features, message):
    with pytest.raises(zoo.ZooError, match=message):
        frechet_distance(features, np.ones((4, 3)))
