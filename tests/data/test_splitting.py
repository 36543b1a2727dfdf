import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rediffuse.data.splitting import assign, measure
from rediffuse.errors import UserError

CLASSES = tuple("abcdefgh")


def split(labels: list[int], groups: list[str] | None = None, **changes: object) -> list[str]:
    """assign() on examples that are their own groups and have no test set, unless said."""
    names = [f"example-{i}" for i in range(len(labels))] if groups is None else groups
    arguments = {"val_share": 0.1, "test_share": 0.2, "seed": 0, "in_test": [False] * len(labels)} | changes
    return assign(names, labels, classes=CLASSES, **arguments)


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(5, 60), min_size=1, max_size=5),
    val_share=st.floats(0.01, 0.4),
    test_share=st.floats(0.01, 0.4),
    seed=st.integers(-10, 10),
)
def test_every_class_has_its_share_within_rounding(
    counts: list[int], val_share: float, test_share: float, seed: int
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    parts = split(labels, val_share=val_share, test_share=test_share, seed=seed)
    cells = Counter(zip(parts, labels, strict=True))
    for label, count in enumerate(counts):
        for part, share in (("val", val_share), ("test", test_share)):
            assert cells[part, label] == 1 or abs(cells[part, label] - share * count) < 1
        assert cells["train", label] >= 1


def test_the_totals_are_within_rounding_too() -> None:
    labels = [label for label in range(8) for _ in range(13)]
    parts = Counter(split(labels, val_share=0.11, test_share=0.37))
    assert parts["val"] == round(0.11 * 104)
    assert parts["test"] == round(0.37 * 104)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), seed=st.integers(0, 5))
def test_groups_never_straddle(data: st.DataObject, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=12, max_size=40))
    groups = [f"group-{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = [data.draw(st.integers(0, 1)) for _ in groups] if data.draw(st.booleans()) else [0] * len(groups)
    in_test = [data.draw(st.integers(0, 19)) == 0 for _ in groups]
    try:
        parts = split(labels, groups, in_test=in_test, seed=seed)
    except UserError:
        return  # random labels may leave a class with one group
    assert len(set(zip(groups, parts, strict=True))) == len(sizes)
    assert all(part == "test" for part, given_test in zip(parts, in_test, strict=True) if given_test)


def test_groups_keep_the_shares_as_nearly_as_their_sizes_allow() -> None:
    groups = [f"group-{i}" for i in range(100) for _ in range(1 + i % 4)]
    parts = Counter(split([0] * len(groups), groups))
    assert parts["val"] == 25
    assert parts["test"] == 50


def test_a_class_of_few_large_groups_is_in_every_part_all_the_same() -> None:
    groups = [f"group-{i}" for i in range(3) for _ in range(5)] + [f"single-{i}" for i in range(85)]
    labels = [0] * 15 + [1] * 85
    parts = split(labels, groups)
    assert {part for part, label in zip(parts, labels, strict=True) if label == 0} == {"train", "val", "test"}


def test_a_given_test_set_stays_and_only_validation_is_cut() -> None:
    labels = [i % 2 for i in range(100)]
    in_test = [i >= 80 for i in range(100)]
    parts = split(labels, in_test=in_test, val_share=0.25)
    assert [part == "test" for part in parts] == in_test
    assert Counter(parts) == {"train": 60, "val": 20, "test": 20}
    assert measure(parts, labels, CLASSES[:2])["greatest_deviation"] == 0


def test_the_order_of_the_rows_does_not_matter() -> None:
    labels = [i % 3 for i in range(90)]
    names = [f"example-{i}" for i in range(90)]
    forward = dict(zip(names, split(labels, names), strict=True))
    backward = dict(zip(names[::-1], split(labels[::-1], names[::-1]), strict=True))
    assert forward == backward


def test_another_seed_draws_another_split_and_the_same_seed_the_same() -> None:
    labels = [0] * 100
    assert split(labels, seed=1) == split(labels, seed=1)
    assert split(labels, seed=1) != split(labels, seed=2)


def test_unlabelled_examples_are_split_as_one_class() -> None:
    assert Counter(split([-1] * 50)) == {"train": 35, "val": 5, "test": 10}


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        ([0] * 9 + [1] * 2, {}, "the class 'b' has too few images to divide over train, test, val: 2, of which 2 are"),
        (
            [0] * 9 + [1],
            {"in_test": [True] + [False] * 9},
            "the class 'b' has too few images to divide over train, val: 1",
        ),
        (
            [0] * 9 + [1],
            {"in_test": [False] * 9 + [True]},
            "the class 'b' has too few images to divide over train, val: 0",
        ),
        (
            [0] * 9,
            {"groups": ["x"] * 8 + ["y"]},
            "the class 'a' has too few images .*: 9, of which 2 are no duplicates",
        ),
        ([-1], {}, "the data set has too few images"),
    ],
)
def test_a_class_with_fewer_images_than_parts_is_refused(
    labels: list[int], changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        split(labels, **changes)


def test_three_examples_a_class_are_enough() -> None:
    shares = (0.01, 0.1, 0.3, 0.35, 0.4)
    for counts in itertools.combinations_with_replacement((3, 4, 5), 3):
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        for val_share, test_share in itertools.product(shares, shares):
            parts = split(labels, val_share=val_share, test_share=test_share)
            assert len(set(zip(parts, labels, strict=True))) == 9


def test_measure_counts_by_split_and_class() -> None:
    assert measure(["train", "train", "val", "test"], [0, 1, 0, 1], ("a", "b")) == {
        "counts": {"train": 2, "val": 1, "test": 1},
        "classes": {"train": {"a": 1, "b": 1}, "val": {"a": 1, "b": 0}, "test": {"a": 0, "b": 1}},
        "greatest_deviation": 0.5,
    }
