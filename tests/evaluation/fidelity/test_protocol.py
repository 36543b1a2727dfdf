"""The protocol: sizes are equal, floors are the same function, a perfect generator reaches its floor."""

import numpy as np
import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings, check_splits, least_images
from rediffuse.tables import rounded

SETTINGS = FidelitySettings(
    neighbours=3, coverage_neighbours=5, manifold_points=10_000, kid_subsets=20, kid_subset_size=50, seed=0
)
NAMES = ("fd", "kid", "mmd", "precision", "recall", "f1", "density", "coverage")


def points(count: int, seed: int, mean: float = 0.0, dimension: int = 16) -> np.ndarray:
    return (mean + np.random.default_rng(seed).standard_normal((count, dimension))).astype(np.float32)


TRAIN, TEST = points(600, 0), points(100, 1)


def test_a_fresh_real_set_scores_like_the_floor_however_large_it_is() -> None:
    result = score_fidelity(TRAIN, TEST, points(1050, 2), SETTINGS)
    scores = result.scores
    assert (result.images, result.folds) == (100, 10)
    for name in NAMES:
        assert scores[f"{name}_low"] < scores[name] < scores[f"{name}_high"]
        assert scores[f"{name}_floor_low"] < scores[name] < scores[f"{name}_floor_high"]
        # Ten folds tell more than one.
        made, floor = (scores[f"{name}{end}_high"] - scores[f"{name}{end}_low"] for end in ("", "_floor"))
        assert made < 0.8 * floor
    # All at once the distance is far below the floor, for no other reason than the number of images.
    assert scores["fd_full"] < 0.5 * scores["fd_floor"]


def test_the_test_set_itself_scores_its_own_floor() -> None:
    result = score_fidelity(TRAIN, TEST, TEST, SETTINGS)
    for name in ("fd", "mmd", "precision", "recall", "f1", "density", "coverage"):
        assert result.scores[name] == pytest.approx(result.scores[f"{name}_floor"], rel=1e-9)
    assert result.folds == 1


def test_the_names_are_the_same_whatever_the_data() -> None:
    expected = {f"{name}{floor}{end}" for name in NAMES for floor in ("", "_floor") for end in ("", "_low", "_high")}
    for generated in (points(4, 2), points(100, 2), points(1000, 2), np.zeros((50, 16), np.float32)):
        scores = score_fidelity(TRAIN, TEST, generated, SETTINGS).scores
        assert set(scores) == expected | {"fd_full", "kid_subset_sd"}
        assert np.isfinite(list(scores.values())).all()
        for name in expected:
            if not name.endswith(("_low", "_high")):
                assert scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"]


def test_copies_of_training_images_come_nearer_than_real_ones_can() -> None:
    scores = score_fidelity(TRAIN, TEST, TRAIN[:100], SETTINGS).scores
    assert scores["precision"] == 1.0
    assert scores["density"] > scores["density_floor"] + 0.1
    assert scores["coverage"] > scores["coverage_floor"]
    assert scores["mmd"] < scores["mmd_floor"]


def test_the_order_of_generated_rows_within_a_fold_changes_no_score_but_by_the_draw_of_subsets() -> None:
    generated = points(300, 2, mean=0.2)

    def turned(rows: np.ndarray) -> np.ndarray:
        return rows[np.random.default_rng(7).permutation(len(rows))]

    one = rounded(score_fidelity(TRAIN, TEST, generated, SETTINGS).scores)
    # Within the folds, of which each is scored as a whole.
    within = np.concatenate([turned(generated[at : at + 100]) for at in (0, 100, 200)])
    made = rounded(score_fidelity(TRAIN, TEST, within, SETTINGS).scores)
    for name in ("fd", "mmd", "precision", "recall", "f1", "density", "coverage"):
        assert one[name] == made[name]
        assert one[f"{name}_floor"] == made[f"{name}_floor"]
    assert one["fd_full"] == made["fd_full"]


def test_features_far_from_the_origin_score_as_they_do_around_it() -> None:
    generated = points(100, 2, mean=0.3)
    near = score_fidelity(TRAIN, TEST, generated, SETTINGS).scores
    # In float64, whose last digit is then a millionth of a millionth of the spread's hundredth.
    train, test, made = (1e4 + 1e-2 * rows.astype(np.float64) for rows in (TRAIN, TEST, generated))
    far = score_fidelity(train, test, made, SETTINGS).scores
    for name in ("precision", "recall", "density", "coverage", "mmd"):
        for end in ("", "_low", "_high", "_floor"):
            assert far[name + end] == pytest.approx(near[name + end], rel=1e-6)


def test_fewer_samples_than_test_images_lower_the_size_of_the_floor_too() -> None:
    result = score_fidelity(TRAIN, TEST, points(30, 2), SETTINGS)
    assert (result.images, result.folds) == (30, 1)
    at_full_size = score_fidelity(TRAIN, TEST, points(100, 2), SETTINGS)
    assert result.scores["fd_floor"] > 1.5 * at_full_size.scores["fd_floor"]


def test_a_shifted_set_lies_above_the_floor_in_every_score() -> None:
    scores = score_fidelity(TRAIN, TEST, points(300, 2, mean=1.0), SETTINGS).scores
    assert scores["fd"] > 3 * scores["fd_floor"]
    assert scores["kid"] > scores["kid_floor"] + 5 * scores["kid_subset_sd"]
    assert scores["mmd_low"] > scores["mmd_floor_high"]
    assert scores["f1_high"] < scores["f1_floor_low"]
    assert scores["coverage_high"] < scores["coverage_floor_low"]
    assert scores["density_high"] < scores["density_floor_low"]


def test_a_test_set_sorted_by_class_makes_the_same_kind_of_floor() -> None:
    test = np.concatenate([points(50, 3, mean=-3.0), points(50, 4, mean=3.0)])
    train = np.concatenate([points(300, 5, mean=-3.0), points(300, 6, mean=3.0)])
    generated = test[:20].copy()
    scores = score_fidelity(train, test, generated, SETTINGS).scores
    # Unshuffled, each fold of 20 would show one of the two classes, 36 × 16 away from the mean of both.
    assert scores["fd_floor"] < 100 < scores["fd"]


def test_the_same_key_gives_the_same_numbers_and_another_draws_other_subsets() -> None:
    generated = points(200, 2)
    one, again = (score_fidelity(TRAIN, TEST, generated, SETTINGS) for _ in range(2))
    assert one == again
    other = score_fidelity(TRAIN, TEST, generated, FidelitySettings(**{**vars(SETTINGS), "seed": 1}))
    assert other.scores["kid"] != one.scores["kid"]
    assert other.scores["fd"] == one.scores["fd"]


def test_manifold_points_limit_the_real_manifold_by_key() -> None:
    few = FidelitySettings(**{**vars(SETTINGS), "manifold_points": 60})
    scores, all_points = (score_fidelity(TRAIN, TEST, points(100, 2), chosen).scores for chosen in (few, SETTINGS))
    assert scores["precision"] != all_points["precision"]
    assert scores["fd"] == all_points["fd"]


@pytest.mark.parametrize(("neighbours", "least"), [(1, 2), (3, 4), (10, 11)])
def test_splits_of_the_least_size_are_scored_and_smaller_ones_refused(neighbours: int, least: int) -> None:
    assert least_images(neighbours) == least
    check_splits(least, least, neighbours, neighbours)
    settings = FidelitySettings(**{**vars(SETTINGS), "neighbours": neighbours, "coverage_neighbours": neighbours})
    score_fidelity(points(least, 0), points(least, 1), points(least, 2), settings)
    for train, test, split in ((least - 1, least, "train"), (least, least - 1, "test")):
        with pytest.raises(UserError, match=f"the split {split} holds {least - 1} image.* needs at least {least};"):
            check_splits(train, test, neighbours, neighbours)


def test_the_refusal_says_which_neighbours_would_do() -> None:
    with pytest.raises(UserError) as caught:
        check_splits(16, 2, neighbours=3, coverage_neighbours=5)
    assert str(caught.value) == (
        "the split test holds 2 images, but scoring with evaluate.neighbours 3 needs at least 4; "
        "lower evaluate.neighbours to at most 1, or bring more images for test"
    )
    with pytest.raises(UserError, match=r"holds 1 image, .* needs at least 2; bring more images for test$"):
        check_splits(16, 1, neighbours=1, coverage_neighbours=1)
    with pytest.raises(UserError) as caught:
        check_splits(5, 5, neighbours=3, coverage_neighbours=5)
    assert str(caught.value) == (
        "the split train holds 5 images, but scoring with evaluate.coverage_neighbours 5 needs at least 6; "
        "lower evaluate.coverage_neighbours to at most 4, or bring more images for train"
    )
    # Test images have no balls of that kind.
    check_splits(6, 4, neighbours=3, coverage_neighbours=5)
