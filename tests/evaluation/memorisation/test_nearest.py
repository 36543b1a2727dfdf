"""Nearest neighbours against all distances at once, copies and ties among them."""

import tracemalloc

import numpy as np
import pytest

from rediffuse.evaluation.memorisation import nearest as module
from rediffuse.evaluation.memorisation.nearest import nearest


def brute_force(queries: np.ndarray, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    distances = np.sqrt(((queries[:, None].astype(float) - points[None].astype(float)) ** 2).sum(axis=2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(distances, order, axis=1)


def planted(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Queries and points: some queries are points, and some points stand twice."""
    draw = np.random.default_rng(0)
    if kind == "far from the origin":
        points = (1e4 + draw.standard_normal((500, 12))).astype(np.float32)
    elif kind == "huge":
        points = 1e30 * draw.standard_normal((500, 12))
    elif kind == "whole numbers":
        points = draw.integers(0, 3, (500, 4), np.uint8)
    else:
        points = draw.standard_normal((500, 12)).astype(np.float32)
    points[300:340] = points[:40]
    return np.concatenate([points[20:60], points[::7] + points[1::7][: len(points[::7])] // 2]), points


@pytest.mark.parametrize("kind", ["plain", "far from the origin", "huge", "whole numbers"])
@pytest.mark.parametrize(("count", "block", "asked"), [(1, 4096, 1024), (1, 37, 16), (3, 4096, 1024), (3, 2, 16)])
def test_the_nearest_are_those_of_all_distances_at_once(
    monkeypatch: pytest.MonkeyPatch, kind: str, count: int, block: int, asked: int
) -> None:
    monkeypatch.setattr(module, "_QUERIES", asked)
    queries, points = planted(kind)
    found = nearest(queries, points, count, block)
    indices, distances = brute_force(queries, points, count)
    assert np.array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)
    assert (found.distances[:40, 0] == 0).all()


def test_blocks_and_the_order_of_the_points_change_no_bit_of_a_distance() -> None:
    queries, points = planted("plain")
    one = nearest(queries, points, 3)
    order = np.random.default_rng(1).permutation(len(points))
    other = nearest(queries, points[order], 3, 41)
    assert one.distances.tobytes() == other.distances.tobytes()
    assert np.array_equal(points[one.indices], points[order][other.indices])


def test_memory_grows_with_the_block_and_not_with_all_pairs() -> None:
    points = np.random.default_rng(0).standard_normal((60_000, 4)).astype(np.float32)
    tracemalloc.start()
    nearest(points[:1000], points, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All distances would be 240 MB in float32, and a block's are 16.
    assert peak < 60e6


def test_images_are_never_copied_in_float64() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1000, 3 * 64 * 64), np.uint8)
    tracemalloc.start()
    nearest(images[:50], images, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # They have 12.3 million numbers, 49 MB in the float32 of the product; in float64 they would be 98 MB.
    assert peak < 80e6


def test_points_that_are_all_alike_are_each_others_first_neighbours() -> None:
    points = np.ones((5000, 8), np.float32)
    found = nearest(points[:300], points, 2)
    assert (found.distances == 0).all()
    assert np.array_equal(found.indices, np.tile([0, 1], (300, 1)))


@pytest.mark.parametrize("count", [0, 4])
def test_more_neighbours_than_points_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"^{count} nearest of 3 points"):
        nearest(np.zeros((2, 2)), np.zeros((3, 2)), count)


def test_no_queries_have_no_neighbours() -> None:
    found = nearest(np.zeros((0, 2)), np.zeros((3, 2)), 2)
    assert found.indices.shape == found.distances.shape == (0, 2)
