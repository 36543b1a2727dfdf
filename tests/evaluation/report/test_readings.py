"""Words that say what the numbers allow, and no more."""

import pytest

from rediffuse.evaluation.report.answers import read_attacks, read_copies, read_likelihood, read_utility
from rediffuse.evaluation.report.names import SCORES
from rediffuse.evaluation.report.readings import notes, read_fidelity, standing
from tests.evaluation.report.constructed import controls, estimate, fidelity, metrics


@pytest.mark.parametrize(
    ("value", "error", "lower", "said"),
    [
        (1.05, 0.1, True, "alike"),
        (1.3, 0.1, True, "alike"),  # 1.2 to 1.4 touches 0.8 to 1.2
        (1.31, 0.1, True, "worse"),
        (1.31, 0.1, False, "better"),
        (0.69, 0.1, True, "better"),
        (0.69, 0.1, False, "worse"),
    ],
)
def test_two_scores_differ_only_where_their_intervals_do_not_touch(
    value: float, error: float, lower: bool, said: str
) -> None:
    scores = estimate("s", value, error) | estimate("s_floor", 1.0, 0.2)
    scores = {name: round(each, 9) for name, each in scores.items()}
    assert standing(scores, "s", lower=lower) == said


def test_a_score_without_an_interval_is_not_judged() -> None:
    assert standing({"s": 5.0, "s_floor": 1.0}, "s", lower=True) == "unknown"
    assert standing(estimate("s", 5.0, 1.0) | {"s_floor": 1.0}, "s", lower=True) == "unknown"
    (row,) = read_fidelity({"fd": 5.0, "fd_floor": 2.0})
    assert row.good is None
    assert row.interval == ""
    assert row.words == "Farther from the training images than real test images are: 2.5 times the floor."


def test_an_overlap_is_no_difference_that_is_shown_and_no_praise() -> None:
    scores = estimate("fd", 0.9, 0.2) | estimate("fd_floor", 0.8, 0.1)
    (row,) = read_fidelity(scores, controls())
    assert row.words == "No difference from real test images is shown: the intervals overlap."
    assert (row.value, row.interval, row.floor, row.floor_interval) == ("0.9", "0.7 to 1.1", "0.8", "0.7 to 0.9")
    assert row.good is None
    (row,) = read_fidelity(estimate("recall", 0.9, 0.2) | estimate("recall_floor", 0.8, 0.1))
    assert row.words.endswith("No difference is shown: the intervals overlap.")
    assert row.good is None


@pytest.mark.parametrize(
    ("fd", "place"),
    [
        (4.1, "Still nearer than real images without one class."),
        (100.0, "That is between noised real images and blurred real images."),
        (600.0, "Farther than every control."),
    ],
)
def test_a_distance_beyond_real_is_set_among_the_controls(fd: float, place: str) -> None:
    rows = read_fidelity(estimate("fd", fd, 0.1) | estimate("fd_floor", 0.8, 0.1), controls())
    assert rows[0].words.endswith(place)
    assert rows[0].good is False


def test_being_nearer_than_real_images_is_no_praise() -> None:
    (row,) = read_fidelity(estimate("fd", 0.1, 0.02) | estimate("fd_floor", 0.8, 0.1))
    assert "Copies would be so, too" in row.words
    (row,) = read_fidelity(estimate("precision", 0.99, 0.01) | estimate("precision_floor", 0.9, 0.01))
    assert "keeps to what is typical" in row.words


def test_every_score_has_its_row_in_one_order() -> None:
    rows = read_fidelity(fidelity(), controls())
    assert [row.name for row in rows] == [score.title for score in SCORES]


def test_distances_below_zero_are_explained_and_others_are_not() -> None:
    below = fidelity() | estimate("kid", -0.02, 0.01) | estimate("mmd", -1.9, 0.2)
    lines = notes(below, images=10_000, generated=50_000)
    assert [line for line in lines if "below 0" in line] == [lines[0]]
    assert lines[0].startswith("KID and MMD below 0: the estimate is unbiased")
    assert not any("below 0" in line for line in notes(fidelity(), images=10_000, generated=50_000))


def test_the_deviation_of_the_classes_is_held_against_that_of_real_images() -> None:
    labels = estimate("deviation", 0.3, 0.05) | estimate("deviation_floor", 0.1, 0.05) | {"by_class": {}}
    row = read_fidelity({"labels": labels})[0]
    assert (row.interval, row.floor_interval, row.good) == ("0.250 to 0.350", "0.050 to 0.150", False)


def test_few_images_are_called_few() -> None:
    (line,) = notes({}, images=180, generated=1440)
    assert line.startswith("Each score is of 180 images: one of them is 0.6 points of precision.")
    assert notes({}, images=10_000, generated=50_000) == []


@pytest.mark.parametrize(
    ("low", "high", "good", "words"),
    [
        (0.01, 0.05, False, "beyond the interval"),
        (-0.01, 0.05, None, "none is shown"),
        (-0.05, -0.01, True, "gains points"),
    ],
)
def test_a_gap_to_real_counts_only_beyond_its_interval(low: float, high: float, good: bool | None, words: str) -> None:
    utility = metrics(("a", "b"))["utility"] | {"cas_gap": (low + high) / 2, "cas_gap_low": low, "cas_gap_high": high}
    gap = next(row for row in read_utility(utility, repeats=3) if row.name == "Gap to real")
    assert gap.good is good
    assert words in gap.words


def test_utility_names_its_trainings_and_what_shuffled_labels_get() -> None:
    gan_test, cas, *_ = read_utility(metrics(("a", "b"))["utility"], repeats=3)
    assert "98.5 of 100 generated images" in gan_test.words
    assert "With the labels shuffled: 10.2." in gan_test.words
    assert "(mean of 3 trainings)" in cas.words
    assert read_utility(None, repeats=3) == []


@pytest.mark.parametrize(
    ("ct", "error", "good", "words"),
    [
        (-1.3, 0.5, False, "what copying does"),
        (-9.0, 9.5, None, "the interval holds 0"),
        (0.3, 0.5, None, "the interval holds 0"),
        (1.3, 0.5, None, "not yet real either"),
    ],
)
def test_c_t_is_copying_where_its_interval_lies_below_zero(
    ct: float, error: float, good: bool | None, words: str
) -> None:
    row = read_copies(metrics(())["memorisation"] | estimate("ct", ct, error))[0]
    assert row.good is good
    assert words in row.words
    assert "chance" not in row.words


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"pixel_copies": 2, "pixel_copies_floor": 1}, "The same, pixel by pixel"),
        (estimate("copies", 0.03, 0.005), "Suspiciously near"),
        (estimate("authenticity", 0.4, 0.05) | estimate("authenticity_floor", 0.6, 0.05), "Authenticity"),
    ],
)
def test_copies_beyond_those_among_real_images_are_marked_and_nothing_is_praised(
    changes: dict[str, float], name: str
) -> None:
    asked = metrics(())["memorisation"]
    assert {row.good for row in read_copies(asked)} == {None}
    assert [row.name for row in read_copies(asked | changes) if row.good is False] == [name]


def test_membership_is_found_where_its_interval_lies_above_chance() -> None:
    asked = metrics(())["memorisation"]
    by_name = {row.name: row for row in read_attacks(asked)}
    assert by_name["Membership inference, AUC"].good is None
    row = read_attacks(asked | estimate("membership_auc", 0.8, 0.05))[0]
    assert row.good is False
    assert "80 times of 100; chance is 50" in row.words
    assert by_name["Planted canaries"].good is False
    assert read_attacks(None) == read_copies(None) == []


def test_bits_are_good_only_where_their_interval_lies_below_the_baseline() -> None:
    bits = metrics(())["likelihood"]
    (row,) = read_likelihood(bits)
    assert (row.value, row.interval, row.floor, row.good) == ("4.212 ± 0.037", "4.140 to 4.283", "5.873", True)
    assert read_likelihood(bits | {"bits_per_dim_baseline": 4.25})[0].good is False
    assert "at most" in read_likelihood(bits | {"method": "bound"})[0].words
    assert read_likelihood(None) == []
