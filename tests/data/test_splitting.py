import itertools
import random
from collections import Counter
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rediffuse.data.manifest import OVERLAP
from rediffuse.data.splitting import PLACES, assign
from rediffuse.errors import UserError
from tests.data.manifests import manifest

CLASSES = tuple("abcdefgh")
PROTECTION = ("train", "val", "test")


def places(table: pd.DataFrame, **changes: object) -> list[str]:
    arguments = {"method": "stratified", "val_share": 0.1, "test_share": 0.2, "seed": 0} | changes
    return [PLACES[place] for place in assign(table, CLASSES, **arguments)]


def split(labels: list[int], groups: list[str] | None = None, *, given: list | None = None, **changes: object) -> list:
    """The split of examples that are their own groups and have no given part, unless said."""
    columns = {} if groups is None else {"group": groups}
    return places(manifest(labels, given_split=given or [None] * len(labels), **columns), **changes)


def named_after_firsts(table: pd.DataFrame) -> pd.DataFrame:
    """Groups under the names that cleaning gives them: the id of the first member in the order of the rows."""
    return table.assign(group=table.groupby("group")["id"].transform("first"))


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Up to 120 rows: groups that cross classes and given parts, pixels that come twice, labels that are missing."""
    count = draw(st.integers(30, 120))
    chance = random.Random(draw(st.integers(0, 2**32)))
    groups = draw(st.integers(10, count))
    parts = draw(
        st.sampled_from([(None,), (None, "train"), (None, "train", "test"), ("train", "val"), (None, *PROTECTION)])
    )
    weights = [1 if part in ("val", "test") else 5 for part in parts]
    members = [chance.randrange(groups) for _ in range(count)]
    return manifest(
        [chance.choice((-1, 0, 1) if chance.random() < 0.1 else (0, 1)) for _ in range(count)],
        group=[f"group-{member}" for member in members],
        given_split=chance.choices(parts, weights, k=count),
        # Some of a group's members have the same pixels.
        sha256=[sha256(f"{member}/{chance.randrange(2)}".encode()).hexdigest() for member in members],
    )


CUTS = {
    "method": st.sampled_from(["stratified", "hash"]),
    "val_share": st.floats(0.02, 0.4),
    "test_share": st.floats(0.02, 0.4),
    "seed": st.integers(-3, 3),
}


@settings(deadline=None, max_examples=150)
@given(table=tables(), cut=st.fixed_dictionaries(CUTS), data=st.data())
def test_any_manifest_is_accounted_for_without_straddling_and_whatever_its_order(
    table: pd.DataFrame, cut: dict[str, object], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(table))))
    shuffled = named_after_firsts(table.iloc[order])
    try:
        found = places(named_after_firsts(table), **cut)
    except UserError:
        with pytest.raises(UserError):
            places(shuffled, **cut)
        return
    assert [found[i] for i in order] == places(shuffled, **cut)
    assert len(found) == len(table)
    given_split = table["given_split"].fillna("train").tolist()
    for _, rows in itertools.groupby(sorted(range(len(table)), key=lambda i: table["group"][i]), table["group"].get):
        group = list(rows)
        strongest = max((given_split[i] for i in group), key=PROTECTION.index)
        used = {found[i] for i in group} - {OVERLAP}
        assert len(used) == 1
        if strongest == "train":
            assert OVERLAP not in {found[i] for i in group}
        else:
            assert [found[i] for i in group] == [strongest if given_split[i] == strongest else OVERLAP for i in group]
    assert {i for i, part in enumerate(given_split) if part == "test"} <= {
        i for i, part in enumerate(found) if part == "test"
    }
    for part in ("val", "test"):
        if part in given_split:
            assert all(given_split[i] == part for i, place in enumerate(found) if place == part)


@settings(deadline=None, max_examples=150)
@given(table=tables(), data=st.data(), val_share=st.floats(0.05, 0.4), test_share=st.floats(0.05, 0.4))
def test_under_hash_no_test_image_ever_moves_when_data_grows(
    table: pd.DataFrame, data: st.DataObject, val_share: float, test_share: float
) -> None:
    # New rows join groups, merge two, or stand alone; the given parts do not change.
    table = table.assign(given_split=table["given_split"].where(table["given_split"] == "test"))
    old_count = data.draw(st.integers(len(table) // 3, len(table)))
    names = table["group"].unique().tolist()
    merged = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(names), max_size=5))
    grown = table.assign(group=table["group"].replace(merged))
    old = table.iloc[:old_count]
    is_given = (table["given_split"] == "test").to_numpy(bool, na_value=False)
    if is_given.any() and not is_given[:old_count].any():
        return
    cut = {"method": "hash", "val_share": val_share, "test_share": test_share}
    try:
        before, after = places(old, **cut), places(grown, **cut)
    except UserError:
        return
    for was, now in zip(before, after, strict=False):
        if was == "test":
            assert now == "test"
        if was == "val" and now != "val":
            assert now == (OVERLAP if is_given.any() else "test")


def test_under_hash_an_image_found_again_under_another_name_and_seed_keeps_or_draws_its_place() -> None:
    table = manifest([0] * 400)
    renamed = table.assign(id="new-" + table["id"], group="new-" + table["group"])
    cut = {"method": "hash", "test_share": 0.25, "val_share": 0.15}
    assert places(renamed, **cut) == places(table, **cut)
    assert places(table, **cut, seed=1) != places(table, **cut)
    counts = Counter(places(table, **cut))
    # Four standard deviations of a binomial.
    assert abs(counts["test"] - 100) < 35
    assert abs(counts["val"] - 60) < 29


def test_under_hash_a_larger_share_only_adds_and_a_given_part_leaves_the_other_its_own_share() -> None:
    table = manifest([0] * 400)
    few, many = (places(table, method="hash", test_share=share) for share in (0.1, 0.3))
    assert {i for i, part in enumerate(few) if part == "test"} < {i for i, part in enumerate(many) if part == "test"}
    for name, cut, share in (("val", "test", {"test_share": 0.25}), ("test", "val", {"val_share": 0.25})):
        with_given = places(table.assign(given_split=[name] * 40 + [None] * 360), method="hash", **share)
        counts = Counter(with_given)
        assert counts[name] == 40
        assert with_given[:40] == [name] * 40
        assert abs(counts[cut] - 90) < 33


def test_under_hash_a_group_is_where_its_least_member_is() -> None:
    table = manifest([0] * 300)
    alone = np.array([PLACES.index(place) for place in places(table, method="hash")])
    paired = table.assign(group=[f"pair-{i // 2}" for i in range(300)])
    assert [PLACES.index(place) for place in places(paired, method="hash")] == [
        max(pair, key=[0, 1, 2].index) for pair in alone.reshape(-1, 2).tolist() for _ in range(2)
    ]


def test_under_hash_a_class_left_out_of_a_part_is_refused_with_its_counts() -> None:
    with pytest.raises(
        UserError, match=r"split.method hash leaves the class 'b' out of a part \(4 in train, 0 in test"
    ):
        split([0] * 200 + [1] * 4, method="hash", test_share=0.01, val_share=0.05)


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


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, "da4e47e67f865608"),
        ([f"group-{i - i % 4 if i % 3 else i}" for i in range(400)], "da280bb269a84f67"),
    ],
)
def test_stratified_places_never_change(groups: list[str] | None, expected: str) -> None:
    # Registered models name the split they were scored on: the same data must be cut alike for ever.
    parts = split([(i * 7) % 5 % 3 for i in range(400)], groups, val_share=0.15)
    assert sha256("".join(part[0:2] for part in parts).encode()).hexdigest()[:16] == expected


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


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.lists(st.sampled_from((1, 1, 1, 2, 5, 27)), min_size=3, max_size=12), min_size=1, max_size=4),
    val_share=st.floats(0.01, 0.4),
    test_share=st.floats(0.01, 0.4),
    seed=st.integers(0, 5),
)
@example(sizes=[[1, 1, 1, 27]], val_share=0.1, test_share=0.1, seed=0)
def test_three_groups_of_a_class_are_enough_whatever_their_sizes(
    sizes: list[list[int]], val_share: float, test_share: float, seed: int
) -> None:
    members = [(label, f"{label}-{i}") for label, groups in enumerate(sizes) for i in range(len(groups))]
    rows = [member for member, size in zip(members, itertools.chain(*sizes), strict=True) for _ in range(size)]
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    parts = split(labels, groups, val_share=val_share, test_share=test_share, seed=seed)
    assert len(set(zip(parts, labels, strict=True))) == 3 * len(sizes)


def test_a_class_that_must_be_given_too_much_of_takes_no_group_that_another_class_needs() -> None:
    # Class b has a group for each part, one of them shared with class a, whose groups are all larger than its quotas.
    groups = ["ab"] * 6 + [f"a{i}" for i in range(3) for _ in range(7)] + ["b0", "b1"]
    labels = [0] * 5 + [1] + [0] * 21 + [1] * 2
    for seed in range(20):
        parts = split(labels, groups, val_share=0.1, test_share=0.1, seed=seed)
        assert len(set(zip(parts, labels, strict=True))) == 6


@pytest.mark.parametrize(
    ("given_part", "shares", "cut"), [("test", {"val_share": 0.25}, "val"), ("val", {"test_share": 0.25}, "test")]
)
def test_a_given_part_stays_and_only_the_other_is_cut(given_part: str, shares: dict[str, float], cut: str) -> None:
    labels = [i % 2 for i in range(100)]
    given_split = [given_part if i >= 80 else "train" if i % 3 else None for i in range(100)]
    parts = split(labels, given=given_split, **shares)
    assert [part == given_part for part in parts] == [i >= 80 for i in range(100)]
    assert Counter(zip(parts, labels, strict=True)) == {
        (part, label): count for part, count in (("train", 30), (cut, 10), (given_part, 10)) for label in (0, 1)
    }


def test_where_all_parts_are_given_nothing_is_cut() -> None:
    given_split = ["train"] * 6 + ["val"] * 2 + ["test"] * 2 + [None]
    assert split([0] * 11, given=given_split) == ["train"] * 6 + ["val"] * 2 + ["test"] * 2 + ["train"]


def test_copies_of_a_given_part_are_used_by_nothing_and_the_part_stays_whole() -> None:
    groups = ["a"] * 4 + ["b"] * 3 + ["c"] * 2 + [f"single-{i}" for i in range(20)]
    given_split = ["test", "test", "val", "train", "val", "train", None, "train", "train"] + ["train"] * 20
    parts = split([0] * 29, groups, given=given_split)
    assert parts[:9] == ["test", "test", OVERLAP, OVERLAP, "val", OVERLAP, OVERLAP, "train", "train"]
    assert set(parts[9:]) == {"train"}


@pytest.mark.parametrize("method", ["stratified", "hash"])
def test_near_duplicates_planted_across_classes_and_sources_never_straddle(method: str) -> None:
    # Triples of one image: in two classes, in two source folders, one of them in the given test set now and then.
    labels = [i % 4 for i in range(300)]
    groups = [f"image-{i % 100}" for i in range(300)]
    given_split = ["test" if i % 100 < 10 and i < 100 else "train" for i in range(300)]
    table = manifest(labels, group=groups, given_split=given_split, id=[f"{'xyz'[i // 100]}/{i}" for i in range(300)])
    parts = places(table, method=method, val_share=0.2)
    assert len(set(zip(groups, parts, strict=True)) - {(group, OVERLAP) for group in groups}) == 100
    assert Counter(parts)[OVERLAP] == 20
    assert Counter(parts)["test"] == 10
    assert Counter(parts)["val"] > 20


def test_another_seed_draws_another_split_and_the_same_seed_the_same() -> None:
    labels = [0] * 100
    assert split(labels, seed=1) == split(labels, seed=1)
    assert split(labels, seed=1) != split(labels, seed=2)


def test_unlabelled_examples_are_split_as_one_class() -> None:
    assert Counter(split([-1] * 50)) == {"train": 35, "val": 5, "test": 10}


def test_few_unlabelled_examples_among_labelled_ones_stop_nothing() -> None:
    parts = split([0] * 50 + [-1])
    assert Counter(parts[:50]) == {"train": 35, "val": 5, "test": 10}
    assert parts[50] == "train"


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        ([0] * 9 + [1] * 2, {}, "the class 'b' has too few images to divide over train, test, val: 2, of which 2 are"),
        (
            [0] * 9 + [1],
            {"given": ["test"] + [None] * 9},
            "the class 'b' has too few images to divide over train, val: 1",
        ),
        (
            [0] * 9 + [1],
            {"given": [None] * 9 + ["test"]},
            "the class 'b' has too few images to divide over train, val: 0",
        ),
        (
            [0] * 9 + [1] * 2,
            {"given": [None] * 9 + ["train", "test"], "groups": list("abcdefghixx")},
            "'b' has too few .*: 0, of which 0 .*; 1 more only repeat images of the source's own test or val set",
        ),
        (
            [0] * 9,
            {"groups": ["x"] * 8 + ["y"]},
            "the class 'a' has too few images .*: 9, of which 2 are no duplicates",
        ),
        (
            [0] * 9,
            {"groups": ["x"] * 8 + ["y"], "method": "hash"},
            "too few images .*: 9, of which 2 are no duplicates",
        ),
        ([-1], {}, "the data set has too few images"),
        (
            [0] * 9,
            {"groups": list("abcdefgxx"), "given": [None] * 7 + ["val", "test"]},
            "the source's own val set is empty: each of its 1 images repeats one of its test set",
        ),
    ],
)
def test_a_part_or_class_without_enough_images_is_refused(
    labels: list[int], changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        split(labels, **changes)


def test_three_examples_a_class_are_enough() -> None:
    shares = (0.01, 0.1, 0.3, 0.35, 0.4)
    for counts in itertools.combinations_with_replacement((3, 4, 5), 3):
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        table = manifest(labels)
        for val_share, test_share in itertools.product(shares, shares):
            parts = places(table, val_share=val_share, test_share=test_share)
            assert len(set(zip(parts, labels, strict=True))) == 9
