"""What the page chooses to show of the tables, and which words and numbers it finds for it."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from rediffuse.charts import Picture
from rediffuse.data.manifest import CHECKS, CONVERSIONS, FAULTS
from rediffuse.errors import UserError
from rediffuse.params.data import LimitsParams
from rediffuse.survey import distributions, figures
from rediffuse.survey.checks import read_checks
from rediffuse.survey.galleries import drawn, ends, outliers, suspects
from rediffuse.survey.groups import groups
from rediffuse.survey.report import DataReport
from rediffuse.survey.tables import Tables
from rediffuse.survey.thumbnails import read_originals
from rediffuse.survey.words import DONE, FOUND, counted, percent, printable, shortened
from rediffuse.workspace import Workspace
from tests.survey.conftest import SPLIT_METRICS, planted_images
from tests.survey.planted_tables import kept, write_workspace

NO_LIMITS = LimitsParams(class_deviation=None, ks=None, auc=None)


@pytest.fixture(scope="module")
def tables(planted: Workspace) -> Tables:
    return Tables.read(planted)


def test_dropped_duplicates_stand_beside_the_image_that_was_kept(tables: Tables) -> None:
    found = groups(tables)
    assert (found.count, found.images, found.disagreeing, found.straddling) == (2, 17, 2, 0)
    large, small = found.galleries
    assert large.heading == "6 of 15 images"
    assert [pick.id for pick in large.picks][:2] == ["kept/020.png", "again/0.png"]
    # The one with another label is shown and flagged, wherever it stands.
    assert [pick.id for pick in large.picks if pick.alert] == ["again/3.png"]
    assert large.picks[0].captions == ("$x_{1$", "train")
    assert large.picks[1].captions == ("$x_{1$", "dropped")
    assert [pick.row for pick in small.picks] == [10, 11]
    assert large.alert
    assert small.alert


def test_a_group_on_two_sides_of_the_split_is_told(tmp_path: Path) -> None:
    images = [kept(0), kept(1, group="kept/000.png", split="test"), kept(2, split="val")]
    found = groups(Tables.read(write_workspace(tmp_path, images, ())))
    assert (found.count, found.straddling) == (1, 1)
    assert not found.galleries[0].alert


def test_a_copy_whose_twin_went_too_is_with_what_is_left(tmp_path: Path) -> None:
    small = replace(kept(5), fate="rejected", reason="near_duplicate", group="kept/000.png")
    copy = replace(kept(6), fate="rejected", reason="duplicate", detail="the same pixels as kept/005.png")
    copy = replace(copy, group="kept/000.png")
    found = groups(Tables.read(write_workspace(tmp_path, [kept(0), small, copy, kept(1)], ())))
    assert [[pick.id for pick in gallery.picks] for gallery in found.galleries] == [[kept(0).id, small.id, copy.id]]


def test_the_farthest_and_the_least_likely_come_first(tables: Tables) -> None:
    far, doubtful = outliers(tables), suspects(tables)
    assert far
    assert doubtful
    assert [(pick.row, pick.captions) for pick in far.picks] == [
        (13, ("12.0 dev.",)),
        (12, ("9.5 dev.",)),
        (14, ("8.2 dev.",)),
    ]
    assert [(pick.row, pick.captions) for pick in doubtful.picks] == [
        (16, ("1.2 %", "dog & <b>co</b> → $x_{1$")),
        (15, ("4.0 %", "cat → dog & <b>co</b>")),
    ]


def test_where_none_is_beyond_the_limit_the_nearest_to_it_are_shown(tmp_path: Path) -> None:
    images = [kept(i, label=0, deviations=float(i), probability=0.2 + i / 100, suggestion=1) for i in range(20)]
    images += [kept(20, label=1, probability=0.01, suggestion=1), kept(21, label=1)]
    images.append(kept(22, label=1, probability=0.75, suggestion=0))
    tables = Tables.read(write_workspace(tmp_path, images, ("a", "b")))
    far, doubtful = outliers(tables), suspects(tables)
    assert far
    assert doubtful
    assert [pick.row for pick in far.picks] == list(range(19, 7, -1))
    assert [pick.row for pick in doubtful.picks] == list(range(12))  # 20's suggestion is its own label
    assert not any(pick.alert for pick in (*far.picks, *doubtful.picks))


def test_examples_are_of_train_and_a_row_a_class(report: DataReport) -> None:
    assert [strip.heading for strip in report.examples] == ["cat", "dog & <b>co</b>", "$x_{1$"]
    assert [len(strip.tiles) for strip in report.examples] == [7, 7, 8]
    assert all("train" in tile.title for strip in report.examples for tile in strip.tiles)


def test_tables_that_were_not_made_together_are_refused_in_one_line(tmp_path: Path) -> None:
    images = planted_images()
    whole = write_workspace(tmp_path / "whole", images, ("a", "b", "c"))
    part = write_workspace(tmp_path / "part", images[:-1], ("a", "b", "c"))
    part.rejected.replace(whole.rejected)
    with pytest.raises(UserError, match=r"holds 52 images, but .* list 30 \+ 2 \+ 19; run dvc repro$"):
        Tables.read(whole)
    fewer = write_workspace(tmp_path / "fewer", images[:-22], ("a", "b", "c"))
    fewer.split.replace(whole.split)
    with pytest.raises(UserError, match=r"manifest.parquet \(30 examples\) and split.parquet \(\d+\) don't list"):
        Tables.read(whole)


def test_only_the_images_asked_for_are_read_and_broken_ones_have_no_thumbnail(planted: Workspace) -> None:
    wanted = ["again/13.png", "broken/1.png", "broken/3.png", "wide.png", "missing.png"]
    originals = read_originals(planted.prepared, wanted, (255, 255, 255))
    assert sorted(originals) == ["again/13.png", "broken/1.png", "broken/3.png", "wide.png"]
    assert (originals["wide.png"].width, originals["wide.png"].height) == (300, 16)
    assert originals["again/13.png"].thumbnail is not None
    assert originals["again/13.png"].thumbnail.shape == (64, 64, 3)
    assert originals["broken/1.png"].thumbnail is originals["broken/3.png"].thumbnail is None


def test_of_many_names_always_the_same_few_are_drawn_from_all_over() -> None:
    names = pd.Series([f"image {i}" for i in range(1000)])
    chosen = drawn(names, 12)
    assert len(chosen) == 12
    assert (np.diff(chosen) > 0).all()
    assert chosen.max() - chosen.min() > 500
    assert set(names.iloc[chosen]) == set(names[::-1].iloc[drawn(names[::-1], 12)])
    assert drawn(names.iloc[:3], 12).tolist() == [0, 1, 2]


def test_of_a_hundred_classes_the_largest_and_the_smallest_are_drawn(tmp_path: Path) -> None:
    classes = tuple(f"class {i}" for i in range(100))
    images = [kept(i, label=i) for i in range(100)] + [kept(100 + i, label=97 + i % 3) for i in range(9)]
    tables = Tables.read(write_workspace(tmp_path, images, classes))
    shown = ends(tables, 24)
    assert shown == [97, 98, 99, *range(9), *range(85, 97)]
    picture = figures.classes(tables.class_counts(), shown)
    assert "class 97 4, class 98 4, class 99 4, class 0 1" in picture.alt
    assert Pillow.open(io.BytesIO(picture.light)).height > 1000


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        (NO_LIMITS, [True, None, None, None, None, None, None]),
        (
            LimitsParams(class_deviation=0.0125, ks=0.25, auc=0.6),
            [True, None, True, True, False, False, None],
        ),
    ],
)
def test_a_check_is_good_within_its_limit_bad_beyond_it_and_neither_without_one(
    tables: Tables, limits: LimitsParams, good: list[bool | None]
) -> None:
    rows = read_checks(tables, groups(tables), SPLIT_METRICS, limits)
    assert [row.name for row in rows] == [
        "Groups on two sides",
        "Overlap",
        "Class shares",
        "Brightness and entropy, train and val",
        "Brightness and entropy, train and test",
        "Told apart, train and test",
        "Fréchet distance, train and test",
    ]
    assert [row.good for row in rows] == good


def test_every_name_of_cleaning_has_words() -> None:
    assert FOUND.keys() == {*FAULTS, *CHECKS}
    assert DONE.keys() == set(CONVERSIONS)


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 7, "0 %"), (7, 7, "100 %"), (1, 8, "12.5 %"), (1, 4000, "0.025 %"), (3999, 4000, "99.97 %"), (1, 0, "0 %")],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, words: str) -> None:
    assert percent(part, whole) == words


def test_counts_and_names_in_words() -> None:
    assert (counted(1, "image"), counted(1200, "image")) == ("1 image", "1,200 images")
    assert printable("a\tb\u202e\x00é") == "a\\tb\\u202e\\x00é"
    assert (shortened("abcdef", 4), shortened("abcd", 4)) == ("…def", "abcd")


def drawings(tables: Tables) -> list[Picture]:
    return [
        figures.flow(50, {"kept": 30, "quarantined": 0, "rejected": 20}, tables.splits),
        distributions.dimensions(tables.kept, [], (8, 8)),
    ]


def test_figures_repeat_to_the_byte_and_differ_between_light_and_dark(tables: Tables) -> None:
    first, again = drawings(tables), drawings(tables)
    assert first == again
    assert all(picture.light != picture.dark for picture in first)


def test_a_hundred_thousand_different_sizes_become_a_few_thousand_points() -> None:
    sizes = np.random.default_rng(0).integers(100, 4000, (100_000, 2))
    points, counts = distributions._points(sizes)
    assert len(points) < 10_000
    assert counts.sum() == 100_000
    assert points.min() > 95
    few, counts = distributions._points(sizes[:3].repeat(2, axis=0))
    assert sorted(map(tuple, few.tolist())) == sorted(map(tuple, sizes[:3].tolist()))
    assert counts.tolist() == [2, 2, 2]
