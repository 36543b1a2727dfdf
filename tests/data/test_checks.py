from hashlib import blake2b

import numpy as np
import pyarrow
import pytest

from rediffuse.data import checks
from rediffuse.data.checks import name_collisions, name_hashes
from tests.data.planted import params_with


def marked(mask: np.ndarray) -> list[int]:
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (checks.blank(np.array([0, 2, 3, 255], np.uint8), 2), [0, 1]),
        (checks.dark(np.array([2.9, 3.0, 3.01]), 3), [0, 1]),
        (checks.bright(np.array([251.9, 252.0, 255.0]), 252), [1, 2]),
        (checks.low_information(np.array([0.0, 0.5, 0.51]), 0.5), [0, 1]),
        (checks.class_outlier(np.array([4.5, 4.6, np.nan], np.float32), 4.5), [1]),
        (checks.missing(np.array([True, False, True, False])), [1, 3]),
        (checks.missing(np.array([False, False])), []),
        (checks.missing(np.zeros(0, np.bool_)), []),
    ],
)
def test_a_threshold_marks_at_it_and_not_beside_it(mask: np.ndarray, expected: list[int]) -> None:
    assert marked(mask) == expected


def test_a_label_is_suspect_only_where_another_class_is_likelier() -> None:
    probability = np.array([0.02, 0.0201, 0.001, np.nan], np.float32)
    assert marked(checks.label_suspect(probability, np.array([1, 1, -1, 1], np.int32), 0.02)) == [0]


@pytest.mark.parametrize("deviations", [4.0, 8.0])
def test_among_images_of_one_size_a_factor_marks_the_others(deviations: float) -> None:
    """The median deviation is 0 there: 8 deviations are a factor of 4, 4 are one of 2."""
    factor = 4 ** (deviations / 8)
    side = 200
    width = np.array([side] * 20 + [int(side * factor), int(side * factor) + 1, side, side])
    height = np.array([side] * 20 + [side, side, int(side / factor), int(side / factor) - 1])
    assert marked(checks.size_outliers(width, height, deviations)) == [21, 23]
    assert marked(checks.aspect_outliers(width, height, deviations)) == [21, 23]


def test_the_spread_of_sizes_sets_what_is_far() -> None:
    """log(width × height) from 7 to 15 in even steps has a median deviation of 2, so 2.5 robust ones are 7.413."""
    logs = 11 + np.concatenate([np.linspace(-4, 4, 4001), [-7.44, -7.39, 7.39, 7.44]])
    side = np.exp(logs / 2)
    assert marked(checks.size_outliers(side, side, 2.5)) == [4001, 4004]
    assert marked(checks.aspect_outliers(side, side, 2.5)) == []
    assert marked(checks.aspect_outliers(np.exp(logs), np.ones_like(logs), 2.5)) == [4001, 4004]


def test_portraits_among_landscapes_are_no_outliers() -> None:
    width, height = np.array([640] * 90 + [480] * 10), np.array([480] * 90 + [640] * 10)
    assert not checks.aspect_outliers(width, height, 8).any()
    assert checks.size_outliers(width, height, 8).tolist() == [False] * 100


def collisions(names: list[str]) -> list[int]:
    ids = pyarrow.chunked_array([names[:2], names[2:]], pyarrow.string())
    return marked(name_collisions(name_hashes(ids), name_hashes(ids, casefold=True)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/Cat.png", "b", "a/cat.png", "c", "A/CAT.PNG", "d"], [0, 2, 4]),
        (["straße", "x", "STRASSE"], [0, 2]),
        (["Z", "y", "x", "z"], [0, 3]),
        (["same", "same", "other"], []),
        (["one"], []),
        ([], []),
    ],
)
def test_all_ids_that_differ_only_in_case_are_marked(names: list[str], expected: list[int]) -> None:
    assert collisions(names) == expected


def test_hashes_of_names_are_the_same_however_the_column_is_cut() -> None:
    names = [f"image-{i}" for i in range(25_000)]
    whole = name_hashes(pyarrow.array(names))
    assert len(np.unique(whole)) == len(names)
    assert (name_hashes(pyarrow.chunked_array([names[:7], names[7:]])) == whole).all()
    assert whole[1] == int.from_bytes(blake2b(b"image-1", digest_size=8).digest(), "little")


ROW = {
    "range": 2,
    "brightness": 1.26,
    "entropy": 0.25,
    "width": 12,
    "height": 900,
    "deviations": 9.125,
    "probability": 0.0013,
    "label": "cat",
    "suggestion": "dog",
}


@pytest.mark.parametrize(
    ("check", "line"),
    [
        ("missing_label", "no label, where other images have one"),
        ("missing_caption", "no caption, where other images have one"),
        ("name_collision", "another image's id differs only in case"),
        ("blank", "levels 2 apart, at most 2 is blank"),
        ("dark", "mean level 1.26, at most 3 is dark"),
        ("bright", "mean level 1.26, at least 252 is bright"),
        ("low_information", "entropy 0.25 bits, at most 0.5 is low"),
        ("size_outlier", "12 × 900 pixels, over 8 deviations from the median size"),
        ("aspect_outlier", "12 × 900 pixels, over 8 deviations from the median shape"),
        ("class_outlier", "9.12 deviations from its class, over 4.5 is far"),
        ("label_suspect", "'cat' has probability 0.0013, at most 0.02 is suspect; likelier is 'dog'"),
    ],
)
def test_a_mark_says_in_one_line_what_was_seen_and_what_is_allowed(check: str, line: str) -> None:
    document = params_with().clean.checks.model_dump()
    document["blank"]["range"], document["class_outlier"]["deviations"] = 2, 4.5
    document["label_suspect"]["probability"] = 0.02
    allowed = type(params_with().clean.checks).model_validate(document)
    assert checks.detail(check, allowed, ROW) == line
