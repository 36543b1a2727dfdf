"""C_T against scipy in each cell, its cells, its interval."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.memorisation.copying import Approaches, Cells, copying_statistic
from rediffuse.evaluation.memorisation.nearest import nearest


def drawn(count: int, seed: int, classes: int = 3, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points around the centre of their class, and the classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return (4 * labels[:, None] + scale * draw.standard_normal((count, 6))).astype(np.float32), labels


def approaches(of: tuple[np.ndarray, np.ndarray], train: np.ndarray, cells: Cells) -> Approaches:
    return Approaches.of(nearest(of[0], train, 1).distances[:, 0], of[1], cells)


def statistic(generated: tuple[np.ndarray, np.ndarray], classes: int = 3) -> Estimate:
    train, test = drawn(600, 0, classes), drawn(150, 1, classes)
    cells = Cells.of(generated[1], test[1], classes)
    return copying_statistic(approaches(generated, train[0], cells), approaches(test, train[0], cells))


def test_it_is_the_weighted_sum_of_the_cells_scores_over_its_own_standard_deviation() -> None:
    train, test, generated = drawn(600, 0), drawn(150, 1), drawn(300, 2, scale=0.9)
    test = tuple(each[np.r_[0:60, 60:150:3]] for each in test)
    cells = Cells.of(generated[1], test[1], 3)
    found = copying_statistic(approaches(generated, train[0], cells), approaches(test, train[0], cells))
    scores, weights = [], []
    for label in range(3):
        near = [
            np.linalg.norm(points[labels == label][:, None].astype(float) - train[0], axis=2).min(axis=1)
            for points, labels in (generated, test)
        ]
        u = mannwhitneyu(*near).statistic
        m, n = len(near[0]), len(near[1])
        scores.append((u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))
        weights.append(np.sqrt(m * n / (m + n + 1)))
    assert found.value == pytest.approx(np.dot(scores, weights) / np.linalg.norm(weights), abs=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("cells", [1, 10])
def test_its_standard_deviation_is_one_however_many_cells_there_are(cells: int) -> None:
    draw = np.random.default_rng(0)
    found = [
        copying_statistic(*(Approaches(tuple(draw.random((cells, size)))) for size in (144, 18))).value
        for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(0, abs=0.15)
    assert np.std(found) == pytest.approx(1, abs=0.1)


def test_a_cell_where_all_distances_are_equal_takes_no_part() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.random(50), draw.random(20)
    alone = copying_statistic(Approaches((one,)), Approaches((other,)))
    assert copying_statistic(Approaches((one, np.zeros(50))), Approaches((other, np.zeros(20)))) == alone
    nothing = copying_statistic(Approaches((np.zeros(50),)), Approaches((np.zeros(20),)))
    assert nothing == Estimate(0.0, 0.0, 0.0)


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
    test, generated = (np.repeat(np.arange(3), counts) for counts in (test, generated))
    cells = Cells.of(generated, test, 3)
    assert cells.labels == expected
    assert sum(len(rows) for rows in cells.rows(np.arange(60) % 3)) == 20 * len(expected or (0, 1, 2))
    assert Cells.of(generated * 0 - 1, test * 0 - 1, 0).labels is None


@pytest.mark.parametrize(("cells", "generated", "tested"), [(1, 300, 180), (5, 60, 36)])
def test_intervals_cover_what_the_statistic_is_on_average(cells: int, generated: int, tested: int) -> None:
    train, near = drawn(600, 0, 1), drawn(20_000, 1, 1)
    # In each cell the images come nearer than real ones by another measure.
    kinds = (
        [drawn(20_000, 2, 1, scale=scale) for scale in np.linspace(0.8, 0.9, cells)]
        if cells > 1
        else [drawn(20_000, 2, 1, scale=0.85)]
    )
    real, *others = (nearest(each[0], train[0], 1).distances[:, 0] for each in (near, *kinds))
    draw = np.random.default_rng(3)
    found = [
        copying_statistic(
            Approaches(tuple(draw.choice(other, generated) for other in others)),
            Approaches(tuple(draw.choice(real, tested) for _ in others)),
        )
        for _ in range(50)
    ]
    thetas = np.array([mannwhitneyu(other, real).statistic / len(other) / len(real) for other in others])
    truth = ((thetas - 0.5) * np.sqrt(12 * generated * tested / (generated + tested + 1))).sum() / np.sqrt(cells)
    assert -6 < truth < -3
    assert sum(each.low <= truth <= each.high for each in found) >= 45
