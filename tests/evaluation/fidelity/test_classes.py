"""Class by class: shares of labels, and distances against real images of the class."""

from dataclasses import replace

import numpy as np
import pytest

from rediffuse.evaluation.fidelity.classes import Labelled, label_shares, score_classes
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.frechet import Gaussian, frechet_distance

SETTINGS = FidelitySettings(
    neighbours=3, coverage_neighbours=5, manifold_points=10_000, kid_subsets=5, kid_subset_size=50, seed=0
)
NAMES = ("cat", "dog", "owl")


def classes(labels: np.ndarray, seed: int) -> np.ndarray:
    """Features around a centre for each class."""
    noise = np.random.default_rng(seed).standard_normal((len(labels), 6))
    return (5.0 * labels[:, None] + noise).astype(np.float32)


TRAIN, TEST, ASKED = np.arange(600) % 3, np.arange(90) % 3, np.arange(180) % 3
REAL, FRESH, MADE = classes(TRAIN, 0), classes(TEST, 1), classes(ASKED, 2)
LABELS = Labelled(NAMES, TRAIN, TEST, ASKED, seen=ASKED, seen_test=TEST)


def test_the_shares_of_labels_are_counted_and_their_distance_is_the_total_variation() -> None:
    labels = Labelled(
        names=NAMES,
        train=np.array([0, 0, 1, 2, -1]),
        test=np.array([0, 1, 2, 2]),
        asked=np.array([0, 0, 1, 1, 2, 2, 2, 2]),
        seen=np.array([0, 0, 0, 1, 1, 1, 1, 2]),
        seen_test=np.array([0, 1, 2, 1]),
    )
    found = label_shares(labels, SETTINGS)
    # Shares asked 1/4, 1/4, 1/2, seen 3/8, 1/2, 1/8.
    assert found["deviation"] == pytest.approx((1 / 8 + 1 / 4 + 3 / 8) / 2)
    assert found["deviation_floor"] == pytest.approx(1 / 4)
    assert found["by_class"]["owl"] == {"asked": 0.5, "seen": 0.125, "real": 0.25}
    assert found["by_class"]["cat"]["real"] == 0.5


def test_images_without_a_label_count_in_no_deviation() -> None:
    """Of four classes one is unlabelled, but seen by the judge, who is right of all."""
    seen = np.arange(80) % 4
    labels = Labelled(("a", "b", "c", "d"), seen, np.where(seen == 3, -1, seen), seen, seen=seen, seen_test=seen)
    found = label_shares(labels, SETTINGS)
    assert found["deviation"] == found["deviation_floor"] == 0.0
    # As many as 80 right answers leave open, by Wilson's interval.
    assert (found["deviation_low"], found["deviation_high"]) == (0.0, pytest.approx(0.0458, abs=1e-4))
    unasked = label_shares(replace(labels, asked=np.full(80, -1)), SETTINGS)
    assert (unasked["deviation"], unasked["by_class"]["a"]["seen"]) == (0.0, 0.25)


@pytest.mark.parametrize(("share", "images"), [(0.3, 200), (0.01, 400)])
def test_the_interval_of_the_deviation_covers(share: float, images: int) -> None:
    """That share of the cats is seen as dogs, and one in a hundred owls as cats."""
    draw = np.random.default_rng(0)
    asked = np.arange(images) % 3
    found = []
    for _ in range(300):
        wrong = draw.random(images) < np.array([share, 0.0, 0.01])[asked]
        seen = np.where(wrong, np.array([1, 1, 0])[asked], asked)
        found.append(label_shares(replace(LABELS, asked=asked, seen=seen), SETTINGS))
    expected = np.mean([each["deviation"] for each in found])
    assert np.mean([each["deviation_low"] <= expected <= each["deviation_high"] for each in found]) >= 0.9
    width = np.mean([each["deviation_high"] - each["deviation_low"] for each in found])
    assert width < 6 * np.std([each["deviation"] for each in found])


def test_a_class_that_looks_like_another_stands_out_alone() -> None:
    # What is asked for as an owl looks like a dog.
    wrong = classes(np.where(ASKED == 2, 1, ASKED), 2)
    found = score_classes(REAL, FRESH, wrong, LABELS, SETTINGS)
    assert found["owl"]["fd"] > 20 * found["owl"]["fd_floor"]
    assert (found["owl"]["recall"], found["owl"]["recall_low"]) == (0.0, 0.0)
    for name in ("cat", "dog"):
        assert found[name]["fd_low"] <= found[name]["fd"] < 2 * found[name]["fd_floor"]
        assert found[name]["recall"] > 0.8 * found[name]["recall_floor"]


def test_a_class_is_scored_in_folds_of_its_own_size_against_its_own_images() -> None:
    found = score_classes(REAL, FRESH, MADE, LABELS, SETTINGS)["dog"]
    assert found["images"] == 30
    real, made = Gaussian.of(REAL[TRAIN == 1]), MADE[ASKED == 1]
    expected = np.mean([frechet_distance(real, Gaussian.of(half)) for half in (made[:30], made[30:])])
    assert found["fd"] == pytest.approx(expected, rel=1e-12)
    assert found["fd_floor"] == pytest.approx(frechet_distance(real, Gaussian.of(FRESH[TEST == 1])), rel=1e-12)
    assert set(found) == {
        f"{name}{floor}{end}" for name in ("fd", "recall") for floor in ("", "_floor") for end in ("", "_low", "_high")
    } | {"images"}
    assert found["fd_low"] < found["fd"] < found["fd_high"]
    assert found["recall_low"] < found["recall"] <= found["recall_high"] <= 1
    assert found["fd_floor_low"] < found["fd_floor"] < found["fd_floor_high"]
    assert found["recall_floor_low"] < found["recall_floor"] <= found["recall_floor_high"] <= 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_class_with_too_few_images_has_only_their_number(count: int) -> None:
    keep = (ASKED != 0) | (np.cumsum(ASKED == 0) <= count)
    labels = replace(LABELS, asked=ASKED[keep], seen=ASKED[keep])
    found = score_classes(REAL, FRESH, MADE[keep], labels, SETTINGS)
    assert found["cat"] == {"images": count}
    assert "fd" in found["dog"]
    one_more = replace(LABELS, train=np.where(TRAIN == 0, -1, TRAIN))
    assert score_classes(REAL, FRESH, MADE, one_more, SETTINGS)["cat"] == {"images": 30}


@pytest.mark.slow
@pytest.mark.parametrize("folds", [1, 8])
@pytest.mark.parametrize("dimension", [8, 128])
def test_the_intervals_of_a_class_cover_at_eighteen_images(folds: int, dimension: int) -> None:
    def points(draw: np.random.Generator, count: int) -> np.ndarray:
        return draw.standard_normal((count, dimension)).astype(np.float32)

    def scored(key: int, count: int) -> dict[str, float]:
        made = points(np.random.default_rng([key, count]), 18 * count)
        labels = Labelled(("cat",), one(144), one(18), one(18 * count), one(18 * count), one(18))
        return score_classes(real, test, made, labels, SETTINGS)["cat"]

    def one(count: int) -> np.ndarray:
        return np.zeros(count, np.int64)

    real, test = (points(np.random.default_rng(key), count) for key, count in ((0, 144), (1, 18)))
    many, found = [scored(2, 1000)], [scored(10 + i, folds) for i in range(200)]
    for name in ("fd", "recall"):
        held = [each[f"{name}_low"] <= many[0][name] <= each[f"{name}_high"] for each in found]
        assert np.mean(held) >= 0.9, name
