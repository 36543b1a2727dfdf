import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from rediffuse.data.features import Features, describe
from rediffuse.data.outliers import class_outliers
from tests.data.viewed import SPOILED, described, digits, hashes, views

DEVIATIONS = 4.5


def scores(pictures: np.ndarray, labels: np.ndarray, keys: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    alone = np.arange(len(labels)) if groups is None else groups
    return class_outliers(described(pictures, keys), labels, keys, alone)


def planted(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of the digits, their labels, and which kind of spoiling each has: 10 of each kind, -1 for none."""
    images, labels = digits()
    rows = np.random.default_rng(seed).permutation(len(images))[: 10 * len(SPOILED)]
    kinds = np.full(len(images), -1)
    pictures = images.copy()
    for i, (row, spoil) in enumerate(zip(rows, list(SPOILED.values()) * 10, strict=True)):
        pictures[row] = spoil(images[row])
        kinds[row] = i % len(SPOILED)
    return views(pictures), labels, kinds


def test_planted_outliers_are_found_and_little_else() -> None:
    pictures, labels, kinds = planted()
    found = scores(pictures, labels, hashes(len(labels))) > DEVIATIONS
    assert found[kinds >= 0].mean() >= 0.9
    for kind in range(len(SPOILED)):
        assert found[kinds == kind].mean() >= 0.7
    assert (kinds[found] >= 0).mean() >= 0.95


def test_clean_digits_have_hardly_an_outlier() -> None:
    images, labels = digits()
    assert (scores(views(images), labels, hashes(len(labels))) > DEVIATIONS).sum() <= 3


def test_without_labels_what_is_unlike_all_images_stands_out() -> None:
    pictures, labels, kinds = planted()
    found = scores(pictures, np.full_like(labels, -1), hashes(len(labels)))
    for kind in ("noise", "inverted"):
        assert (found[kinds == list(SPOILED).index(kind)] > 3).mean() >= 0.9
    assert (found[kinds < 0] > 3).mean() < 0.01


def test_scores_do_not_depend_on_the_order_of_the_rows_nor_on_threads() -> None:
    pictures, labels, _ = planted()
    keys, groups = hashes(len(labels)), np.arange(len(labels)) // 2
    with threadpool_limits(2):
        first = scores(pictures, labels, keys, groups)
    with threadpool_limits(1):
        assert scores(pictures, labels, keys, groups).tobytes() == first.tobytes()
    order = np.random.default_rng(2).permutation(len(labels))
    renumbered = np.random.default_rng(3).permutation(len(labels))[groups]
    again = scores(pictures[order], labels[order], keys[order], renumbered[order])
    np.testing.assert_allclose(again, first[order], atol=5e-4)


@pytest.mark.parametrize(("different", "judged"), [(20, True), (19, False)])
def test_a_class_of_fewer_than_twenty_has_no_verdict(different: int, judged: bool) -> None:
    """A near duplicate is no further image."""
    points = np.random.default_rng(0).standard_normal((63, 48)).astype(np.float32)
    labels = np.repeat(np.array([3, 7], np.int32), [40, 23])
    groups = np.arange(63)
    groups[40 + different :] = groups[40]
    verdict = class_outliers(Features(points, np.zeros(63, np.float32)), labels, hashes(63), groups)
    assert np.isfinite(verdict[:40]).all()
    assert np.isfinite(verdict[40:]).tolist() == [judged] * 23


def test_copies_of_an_outlier_do_not_vouch_for_it() -> None:
    images, labels = digits()
    pictures = views(images)
    odd = np.flatnonzero(labels == 4)[:8]
    pictures[odd] = views(np.stack([SPOILED["striped"](images[0])]))
    keys, groups = hashes(len(labels)), np.arange(len(labels))
    unaware = scores(pictures, labels, keys, groups)
    groups[odd] = odd[0]
    aware = scores(pictures, labels, keys, groups)
    assert unaware[odd].max() < 0
    assert aware[odd].min() > DEVIATIONS
    assert np.ptp(aware[odd]) < 1e-3


def test_alike_images_give_finite_scores() -> None:
    features = Features(np.zeros((50, 48), np.float32), np.zeros(50, np.float32))
    verdict = class_outliers(features, np.zeros(50, np.int32), hashes(50), np.arange(50))
    assert verdict.tolist() == [0.0] * 50


def test_features_see_edges_and_colour_at_the_place_where_they_are() -> None:
    """An upright edge in the left half: direction 0 in the first two columns of cells, nothing across it."""
    grey = np.zeros((32, 32), np.uint8)
    grey[:, 8:] = 200
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[1, 2] = (255, 0, 51)
    row = describe(np.concatenate([grey.ravel(), colour.ravel()])[None])[0]
    level, edges, red, blue = row[:256].reshape(16, 16), row[256:384].reshape(8, 4, 4), row[384:400], row[400:]
    np.testing.assert_allclose(level[:, 4:], 0.5 * 200 / 255, rtol=1e-6)
    assert not level[:, :4].any()
    expected = np.sqrt(200 / 255 / 4)
    np.testing.assert_allclose(edges[0], np.tile([expected, expected, 0, 0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(edges[4], 0, atol=1e-3)
    assert red.nonzero()[0].tolist() == blue.nonzero()[0].tolist() == [6]
    np.testing.assert_allclose([red[6], blue[6]], [1, 0.2], rtol=1e-6)


def test_the_sample_behind_the_features_is_chosen_by_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rediffuse.data.features._SAMPLE", 200)
    pictures, keys = planted()[0], hashes(1797)
    order = np.random.default_rng(2).permutation(1797)
    first, again = described(pictures, keys), described(pictures[order], keys[order])
    np.testing.assert_allclose(again.points, first.points[order], atol=1e-5)
    np.testing.assert_allclose(again.residual, first.residual[order], atol=1e-3)


def test_no_images_have_no_features() -> None:
    features = described(np.zeros((0, 1072), np.uint8), hashes(0))
    assert features.points.shape == (0, 48)
    nothing = np.zeros(0, np.int32)
    assert class_outliers(features, nothing, hashes(0), nothing.astype(np.int64)).shape == (0,)
