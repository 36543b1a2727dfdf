"""Labelled images: which stay, and an order whose beginnings show every class."""

import numpy as np

from rediffuse.evaluation.utility.pairs import Pairs, stratified_order


def test_unlabelled_images_are_left_out_and_labelled_ones_not_copied() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None]
    assert Pairs.labelled(images, np.arange(6)).images is images
    some = Pairs.labelled(images, np.array([0, -1, 2, 1, -1, 0]))
    assert (some.images.ravel().tolist(), some.labels.tolist()) == ([0, 2, 3, 5], [0, 2, 1, 0])


def test_every_beginning_of_the_order_keeps_the_class_shares() -> None:
    labels = np.random.default_rng(0).choice(4, 500, p=[0.6, 0.25, 0.1, 0.05])
    order = stratified_order(labels, 0, "test")
    assert sorted(order) == list(range(500))
    shares = np.bincount(labels) / 500
    for count in (4, 20, 100, 499):
        found = np.bincount(labels[order[:count]], minlength=4)
        assert np.abs(found - count * shares).max() <= 1.0


def test_the_order_is_a_function_of_its_key() -> None:
    labels = np.arange(100) % 5
    first = stratified_order(labels, 0, "test")
    assert np.array_equal(first, stratified_order(labels, 0, "test"))
    for other in (
        stratified_order(labels, 1, "test"),
        stratified_order(labels, 0, "other"),
        stratified_order(labels, 0, "test", 1),
    ):
        assert not np.array_equal(first[:20], other[:20])
