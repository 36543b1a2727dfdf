"""Precision, recall, density and coverage against other implementations, known answers and plain recomputation."""

import numpy as np
import pytest
import torch

from rediffuse.evaluation.fidelity.distances import Points, nearest
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.manifold import Manifold, Overlap, harmonic_mean, overlap, real_radii, recall_of


def normal(count: int, dimension: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, dimension))


def shares(
    real: np.ndarray, made: np.ndarray, k: int = 3, coverage_k: int = 5, *, grouped: bool = False, block: int = 5000
) -> Overlap:
    x, y = Points(real), Points(made)
    groups = Groups.of(len(made)) if grouped else Groups.one(len(made))
    radii, coverage_radii = real_radii(x, (k, coverage_k), block)
    generated = Manifold.of(y, k, groups if grouped else None, block)
    return overlap(
        Manifold(x, radii), coverage_radii, generated, coverage_neighbours=coverage_k, groups=groups, block=block
    )


def both(real: np.ndarray, made: np.ndarray, k: int = 3, block: int = 5000) -> tuple[float, float]:
    found = shares(real, made, k, block=block)
    return float(found.precise.mean()), found.recall


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, made = normal(400, 8, 0), normal(300, 8, 1, mean=0.4, scale=0.8)
    # torch-fidelity's first set is the generated one.
    theirs = prc_features_to_metric(
        torch.from_numpy(made), torch.from_numpy(real), prc_neighborhood=3, prc_batch_size=100, verbose=False
    )
    precision, recall = both(real, made)
    assert 0.1 < recall < precision < 1
    assert precision == pytest.approx(float(theirs["precision"]), rel=1e-6)
    assert recall == pytest.approx(float(theirs["recall"]), rel=1e-6)
    assert harmonic_mean(precision, recall) == pytest.approx(float(theirs["f_score"]), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_all_four_agree_with_the_authors_of_density_and_coverage(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    from prdc import compute_prdc

    # Their balls are open, which tells nothing apart where no two distances are equal.
    real, made = normal(350, 8, 0), normal(250, 8, 1, mean=0.3, scale=0.8)
    theirs = compute_prdc(real, made, nearest_k=k)
    capsys.readouterr()
    found = shares(real, made, k, k)
    assert 0.1 < found.coverage < 0.9
    assert float(found.precise.mean()) == pytest.approx(theirs["precision"], rel=1e-9)
    assert found.recall == pytest.approx(theirs["recall"], rel=1e-9)
    assert float(found.density.mean()) == pytest.approx(theirs["density"], rel=1e-9)
    assert found.coverage == pytest.approx(theirs["coverage"], rel=1e-9)


def test_copies_of_the_real_set_lie_in_every_ball_that_they_span() -> None:
    x = normal(200, 8, 0)
    found = shares(x, x[::-1])
    assert found.precise.all()
    assert (found.recall, found.coverage) == (1.0, 1.0)
    # Each closed ball holds its own centre and the five that reach its surface.
    assert found.density.mean() == pytest.approx(6 / 5, rel=1e-12)


def test_far_sets_share_nothing() -> None:
    found = shares(normal(100, 4, 0), normal(100, 4, 1, mean=100.0), grouped=True)
    assert not found.precise.any()
    assert (found.density.sum(), found.recall, found.coverage) == (0, 0, 0)
    assert not found.recall_without.any()
    assert not found.coverage_without.any()


def test_one_image_repeated_is_precise_and_shows_only_itself() -> None:
    real = normal(500, 4, 0)
    centre = real[np.argmin((real**2).sum(axis=1))]
    found = shares(real, np.repeat(centre[None], 300, axis=0), grouped=True)
    (radii,) = real_radii(Points(real), (5,))
    balls = int((((real - centre) ** 2).sum(axis=1) <= radii * (1 + 1e-12)).sum())
    assert balls > 1
    assert found.precise.all()
    assert found.recall == 1 / 500
    assert found.density == pytest.approx(balls / 5)
    assert found.coverage == balls / 500
    # Any nineteen groups of it say the same.
    assert found.recall_without == pytest.approx(found.recall, rel=1e-12)
    assert found.coverage_without == pytest.approx(found.coverage, rel=1e-12)


def test_a_missing_class_lowers_recall_and_coverage_by_its_share() -> None:
    def classes(present: range, seed: int) -> np.ndarray:
        return np.concatenate([normal(100, 6, seed + label, mean=20.0 * label, scale=0.5) for label in present])

    real = classes(range(5), 0)
    whole, without = (shares(real, classes(range(count), 100)) for count in (5, 4))
    assert whole.recall - without.recall == pytest.approx(0.2, abs=0.02)
    assert without.coverage == pytest.approx(0.8 * whole.coverage, abs=0.02)
    assert without.precise.mean() == pytest.approx(whole.precise.mean(), abs=0.05)


def test_noise_is_neither_precise_nor_dense() -> None:
    real, noise = normal(400, 16, 0), np.random.default_rng(1).uniform(-20, 20, (400, 16))
    found = shares(real, noise)
    assert not found.precise.any()
    assert found.density.mean() == found.coverage == 0


def test_a_copy_of_the_kth_neighbour_lies_on_the_surface_and_inside_whatever_the_rounding() -> None:
    # Away from the origin |a|² + |b|² − 2ab rounds otherwise for one pair of points than for a block of them.
    points = 10 + normal(100, 64, 0)
    (radii,) = real_radii(Points(points), (3,))
    order = np.argsort(((points[:, None] - points) ** 2).sum(axis=2), axis=1)
    for ball, (kth, next_one) in enumerate(order[:, 3:5]):
        alone = Manifold(Points(points[ball : ball + 1]), radii[ball : ball + 1])
        made = Manifold(Points(points[[kth, next_one]]), np.zeros(2))
        found = overlap(alone, alone.radii, made, coverage_neighbours=1, groups=Groups.one(2), block=1)
        assert found.precise.tolist() == [True, False]
        assert found.density.tolist() == [1, 0]


def test_the_balls_are_closed_and_leave_their_own_centre_out() -> None:
    # On a line at 0, 1, 3: with k = 1 the radii are 1, 1 and 2.
    real = Manifold.of(Points(np.array([[0.0], [1.0], [3.0]])), 1)
    assert real.radii == pytest.approx([1, 1, 4])
    made = Manifold(Points(np.array([[-1.0], [-1.001], [5.0], [5.001]])), np.zeros(4))
    found = overlap(real, real.radii, made, coverage_neighbours=1, groups=Groups.one(4))
    assert found.precise.tolist() == [True, False, True, False]
    assert found.coverage == pytest.approx(2 / 3)


def made_sets() -> dict[str, np.ndarray]:
    clustered = np.concatenate([normal(6, 5, seed, mean=3.0 * (seed % 2), scale=0.05) for seed in range(20)])
    # All near neighbours of the first of each ten, a group, are of the group before.
    strayed = np.repeat(np.arange(20), 10)
    strayed[::10] = np.roll(np.arange(20), 1)
    return {
        "in a cluster of another group": 5.0 * normal(20, 5, 5)[strayed] + normal(200, 5, 6, scale=0.05),
        "spread": normal(113, 5, 1, mean=0.3),
        # Nearly all neighbours of a point are of its own group, or of one other.
        "clustered by group": clustered,
        "copies": np.repeat(normal(20, 5, 2), 5, axis=0),
        "few": normal(6, 5, 3),
        "a point a group": normal(17, 5, 4),
    }


@pytest.mark.parametrize("name", list(made_sets()))
def test_recall_and_coverage_without_a_group_are_those_of_the_others(name: str) -> None:
    real, made = normal(150, 5, 0), made_sets()[name]
    found, groups = shares(real, made, grouped=True), Groups.of(len(made))
    for group in range(groups.count):
        others = shares(real, made[groups.members != group])
        assert found.recall_without[group] == pytest.approx(others.recall, rel=1e-12)
        assert found.coverage_without[group] == pytest.approx(others.coverage, rel=1e-12)


def test_recall_alone_is_the_recall_of_all() -> None:
    real, made = normal(150, 5, 0), normal(100, 5, 1, mean=0.5)
    groups, found = Groups.of(100), shares(real, made, grouped=True)
    alone = recall_of(Points(real), Manifold.of(Points(made), 3, groups), groups)
    assert alone.recall == found.recall
    assert alone.recall_without.tolist() == found.recall_without.tolist()
    assert not alone.precise.any()


@pytest.mark.parametrize("block", [1, 97, 1000, 1_000_000])
def test_block_size_and_row_order_change_nothing(block: int) -> None:
    real, made = normal(150, 8, 0), normal(90, 8, 1, mean=0.3)
    shuffled = real[np.random.default_rng(5).permutation(150)], made[np.random.default_rng(6).permutation(90)]
    one, other = shares(real, made), shares(*shuffled, block=block)
    assert (one.precise.sum(), one.recall, one.coverage) == (other.precise.sum(), other.recall, other.coverage)
    assert one.density.mean() == pytest.approx(other.density.mean(), rel=1e-12)
    grouped = shares(real, made, grouped=True, block=block)
    assert grouped.recall_without.tolist() == shares(real, made, grouped=True).recall_without.tolist()


def test_the_nearest_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    points = normal(300, 6, 0)
    which, squared = nearest(Points(points), 4, block=1000)
    distances, rows = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(points).kneighbors(points)
    assert (which == rows[:, 1:]).all()
    assert np.sqrt(squared) == pytest.approx(distances[:, 1:], rel=1e-9)


def test_too_few_points_for_k_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images are too few: at least 4"):
        Manifold.of(Points(normal(3, 2, 0)), 3)


def test_harmonic_mean_of_nothing_is_zero() -> None:
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(1.0, 0.5) == pytest.approx(2 / 3)
