"""An image's features are its own: no neighbour, place or number of images changes a bit of them."""

import numpy as np
import pytest

from rediffuse.evaluation.extractors.features import BATCH, extract


def test_features_are_float32_rows_in_the_order_of_the_images(digits, classifier) -> None:
    images = digits.test[0]
    order = np.random.default_rng(0).permutation(len(images))
    features = extract(classifier, images)
    assert features.dtype == np.float32
    assert features.shape == (len(images), classifier.shape.features)
    assert np.array_equal(extract(classifier, images[order]), features[order])


@pytest.mark.parametrize("count", [1, 2, 7, 100, BATCH - 1, BATCH, BATCH + 1])
def test_the_number_of_images_changes_no_bit(digits, classifier, count: int) -> None:
    images = digits.test[0]
    assert np.array_equal(extract(classifier, images[:count]), extract(classifier, images)[:count])


def test_no_images_give_no_rows(digits, classifier) -> None:
    assert extract(classifier, digits.test[0][:0]).shape == (0, classifier.shape.features)
