"""The protocol: sizes are equal, floors are the same function, a perfect generator reaches its floor."""

import numpy as np
import pytest

from rediffuse.errors import UserError
from rediffuse.evaluation.fidelity.protocol import FidelitySettings, check_splits, least_images, score_fidelity

SETTINGS = FidelitySettings(neighbours=3, manifold_points=10_000, kid_subsets=20, kid_subset_size=50, seed=0)


def points(count: int, seed: int, mean: float = 0.0, dimension: int = 16) -> np.ndarray:
    return (mean + np.random.default_rng(seed).standard_normal((count, dimension))).astype(np.float32)


TRAIN, TEST = points(600, 0), points(100, 1)


def test_a_fresh_real_set_scores_like_the_floor_however_large_it_is() -> None:
    result = score_fidelity(TRAIN, TEST, points(1050, 2), SETTINGS)
    scores = result.scores
    assert (result.images, result.folds) == (100, 10)
    assert abs(scores["fd"] - scores["fd_floor"]) < 3 * scores["fd_sd"]
    assert abs(scores["precision"] - scores["precision_floor"]) < 0.1
    assert abs(scores["recall"] - scores["recall_floor"]) < 0.1
    assert abs(scores["kid"] - scores["kid_floor"]) < 3 * scores["kid_sd"] + 0.01
    # All at once the distance is far below the floor, for no other reason than the number of images.
    assert scores["fd_full"] < 0.5 * scores["fd_floor"]


def test_the_test_set_itself_scores_its_own_floor() -> None:
    result = score_fidelity(TRAIN, TEST, TEST, SETTINGS)
    for name in ("fd", "precision", "recall", "f1"):
        assert result.scores[name] == pytest.approx(result.scores[f"{name}_floor"], rel=1e-9)
    assert result.folds == 1
    assert not [name for name in result.scores if name.endswith("_sd") and name != "kid_subset_sd"]


def test_fewer_samples_than_test_images_lower_the_size_of_the_floor_too() -> None:
    result = score_fidelity(TRAIN, TEST, points(30, 2), SETTINGS)
    assert (result.images, result.folds) == (30, 1)
    at_full_size = score_fidelity(TRAIN, TEST, points(100, 2), SETTINGS)
    assert result.scores["fd_floor"] > 1.5 * at_full_size.scores["fd_floor"]


def test_a_shifted_set_lies_above_the_floor_in_every_score() -> None:
    scores = score_fidelity(TRAIN, TEST, points(300, 2, mean=1.0), SETTINGS).scores
    assert scores["fd"] > 3 * scores["fd_floor"]
    assert scores["kid"] > scores["kid_floor"] + 5 * scores["kid_subset_sd"]
    assert scores["f1"] < scores["f1_floor"] - 0.2


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
    check_splits(least, least, neighbours)
    settings = FidelitySettings(**{**vars(SETTINGS), "neighbours": neighbours})
    score_fidelity(points(least, 0), points(least, 1), points(least, 2), settings)
    for train, test, split in ((least - 1, least, "train"), (least, least - 1, "test")):
        with pytest.raises(UserError, match=f"the split {split} holds {least - 1} image.* needs at least {least};"):
            check_splits(train, test, neighbours)


def test_the_refusal_says_which_neighbours_would_do() -> None:
    with pytest.raises(UserError) as caught:
        check_splits(16, 2, neighbours=3)
    assert str(caught.value) == (
        "the split test holds 2 images, but scoring with evaluate.neighbours 3 needs at least 4; "
        "lower evaluate.neighbours to at most 1, or bring more images for test"
    )
    with pytest.raises(UserError, match=r"holds 1 image, .* needs at least 2; bring more images for test$"):
        check_splits(16, 1, neighbours=1)
