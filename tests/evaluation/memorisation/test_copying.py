"""C_T against scipy in each cell, its cells, its interval."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from rediffuse.evaluation.memorisation.copying import Approaches, Cells, copying_statistic


def drawn(count: int, seed: int, classes: int = 3, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points around the centre of their class, and the classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return (4 * labels[:, None] + scale * draw.standard_normal((count, 6))).astype(np.float32), labels


def statistic(generated: tuple[np.ndarray, np.ndarray], classes: int = 3):
    train, test = drawn(600, 0, classes), drawn(150, 1, classes)
    cells = Cells.of(train[1], test[1], generated[1], classes)
    return copying_statistic(Approaches.of(*generated, *train, cells), Approaches.of(*test, *train, cells))


def test_it_is_the_mean_of_the_cells_scores_weighted_by_the_shares_of_the_test_images() -> None:
    train, test, generated = drawn(600, 0), drawn(150, 1), drawn(300, 2, scale=0.9)
    test = tuple(each[np.r_[0:60, 60:150:3]] for each in test)
    cells = Cells.of(train[1], test[1], generated[1], 3)
    found = copying_statistic(Approaches.of(*generated, *train, cells), Approaches.of(*test, *train, cells))
    scores, shares = [], []
    for label in range(3):
        near = [
            np.linalg.norm(points[labels == label][:, None].astype(float) - train[0][train[1] == label], axis=2).min(
                axis=1
            )
            for points, labels in (generated, test)
        ]
        u = mannwhitneyu(*near).statistic
        m, n = len(near[0]), len(near[1])
        scores.append((u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))
        shares.append(n)
    assert found.value == pytest.approx(np.average(scores, weights=shares), abs=1e-9)
    assert found.low < found.value < found.high


def test_copies_fall_far_below_zero_and_noise_far_above_it() -> None:
    copies = drawn(600, 0)
    assert statistic(copies).value < -8
    assert statistic((copies[0] + np.float32(0.2), copies[1])).value < -3
    assert statistic(drawn(300, 2, scale=2.0)).value > 5
    assert abs(statistic(drawn(300, 2)).value) < 2


@pytest.mark.parametrize(
    ("generated", "test", "expected"),
    [
        ([50, 50, 50], [9, 9, 9], (0, 1, 2)),
        ([50, 19, 50], [9, 9, 9], (0, 2)),
        ([50, 50, 50], [9, 9, 4], (0, 1)),
        ([5, 5, 5], [9, 9, 9], None),
    ],
)
def test_classes_with_too_few_images_are_left_out_and_one_cell_is_left(generated, test, expected) -> None:
    train, test, generated = (np.repeat(np.arange(3), counts) for counts in ([20, 20, 20], test, generated))
    cells = Cells.of(train, np.append(test, -1), generated, 3)
    assert cells.labels == expected
    assert sum(len(rows) for rows in cells.rows(train)) == 20 * len(expected or (0, 1, 2))
    assert Cells.of(train * 0 - 1, test * 0 - 1, generated * 0 - 1, 0).labels is None


def test_intervals_cover_what_the_statistic_is_on_average() -> None:
    train, many = drawn(600, 0, 1), drawn(20_000, 1, 1)
    cells = Cells(None)
    near = Approaches.of(*many, *train, cells).distances[0]
    other = Approaches.of(*drawn(20_000, 2, 1, scale=0.85), *train, cells).distances[0]
    draw = np.random.default_rng(3)
    found = [
        copying_statistic(Approaches((draw.choice(other, 300),)), Approaches((draw.choice(near, 180),)))
        for _ in range(50)
    ]
    u = mannwhitneyu(other, near).statistic / len(other) / len(near)
    truth = (u - 0.5) * np.sqrt(12 * 300 * 180 / 481)
    assert -6 < truth < -3
    assert sum(each.low <= truth <= each.high for each in found) >= 45
