"""The page: one file, nothing fetched, every number on it, names as text; and its pictures one by one."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from rediffuse.survey.report import DataReport, pictures, render
from tests.data.planted import pixels
from tests.survey.conftest import HOSTILE


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.titles: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html(report: DataReport) -> str:
    return render(report)


@pytest.fixture(scope="module")
def page(html: str) -> _Page:
    parsed = _Page()
    parsed.feed(html)
    return parsed


def test_the_counts_are_on_the_page_and_add_up(page: _Page) -> None:
    for expected in (
        "52 found = 30 kept + 2 quarantined + 20 rejected",
        "30 kept = 22 train + 3 val + 3 test + 2 overlap",
        "14 dropped",
        "1 quarantined, 3 kept and marked",
        "12 of 14",
        "3 (10.0 % of the kept)",  # palettes
        "1 (3.3 % of the kept)",  # transparent ones
        "from The <Zoo> · licence CC0 · retrieved 2026-11-20",
        "d1ge57",
        "Of the 22 images that are not kept, the size of 17 can be read.",
        "clean.checks.near_duplicate.similarity",
    ):
        assert expected in page.text, expected


def test_links_lead_to_a_section_that_is_there(html: str, page: _Page) -> None:
    linked = {address.removeprefix("#") for address in page.addresses if address.startswith("#")}
    assert linked == {"duplicates", "outliers", "suspects"} == set(re.findall(r'<section id="(\w+)"', html))


def test_nothing_is_fetched_and_no_script_runs(html: str, page: _Page) -> None:
    assert {address.partition(",")[0] for address in page.addresses if not address.startswith("#")} == {
        "data:image/png;base64"
    }
    assert set(re.findall(r"url\((.{0,24})", html)) == {'"data:image/jpeg;base64,'}
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?://|@import", html)


def test_every_picture_on_the_page_opens_and_the_page_is_small(html: str) -> None:
    encoded = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", html)
    for each in encoded:
        Image.open(io.BytesIO(base64.b64decode(each))).verify()
    assert len(encoded) > 20
    assert len(html) < 1_500_000


def test_names_are_text_and_not_markup_and_what_cannot_be_printed_is_an_escape(html: str, page: _Page) -> None:
    assert not re.search(r"<script|<b>co|<i>no|<Zoo>", html)
    assert "\u202e" not in html
    assert 'bad/<script>alert("1")</script>\\n\\u202ex.png\ndog & <b>co</b>, <i>no</i> image' in page.titles
    assert HOSTILE not in page.titles
    assert "The <Zoo>" in page.text


def test_a_checks_of_the_split_has_a_row_where_it_was_measured(page: _Page) -> None:
    for expected in ("1.2 points", "0.25, 0.125", "0.5, 0.0625", "0.750 (0.625 to 0.875)", "it is 1.25."):
        assert expected in page.text, expected
    assert "Told apart, train and val" not in page.text


def test_pictures_are_png_on_white_one_for_each_part_of_the_page(report: DataReport) -> None:
    drawn = pictures(report)
    assert sorted(drawn) == [
        "classes.png",
        "dimensions.png",
        "duplicates.png",
        "examples.png",
        "flow.png",
        "marked.png",
        "outliers.png",
        "quality.png",
        "quarantined.png",
        "reasons.png",
        "rejected.png",
        "suspects.png",
    ]
    for name, png in drawn.items():
        image = Image.open(io.BytesIO(png))
        assert (image.format, image.mode) == ("PNG", "RGB"), name
        assert image.getpixel((0, 0)) == (255, 255, 255), name


def cut_out(html: str, title: str) -> np.ndarray:
    """The picture of the first tile with this title, grey levels, as a browser cuts it out."""
    before, _, tile = html.partition(f'<li title="{title}')
    strip = re.findall(r'<ul class="tiles s(\d+)">', before)[-1]
    sprite = re.search(rf"\.s{strip} i .*?base64,([^\"]+)", html)
    box = re.search(r"width:(\d+)px;height:(\d+)px;background-position:-(\d+)px 0", tile)
    assert sprite
    assert box
    width, height, left = map(int, box.groups())
    levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite[1]))).convert("L")).astype(int)
    return levels[:height, left : left + width]


@pytest.mark.parametrize(
    ("title", "number"), [("again/1.png", 20), ("again/12.png", 20), ("large/2.png", 21), ("kept/012.png", 12)]
)
def test_a_tile_shows_its_own_image_also_beside_one_that_has_no_picture(html: str, title: str, number: int) -> None:
    original = Image.fromarray(pixels(number, 8, 8, 1)).resize((64, 64), Image.Resampling.BICUBIC)
    assert abs(cut_out(html, title) - np.asarray(original)).mean() < 4
    assert abs(cut_out(html, title) - np.asarray(original)[::-1]).mean() > 20


def test_what_can_not_be_decoded_has_words_in_place_of_a_picture(report: DataReport) -> None:
    reasons = {reason.name: reason for reason in report.reasons}
    (damaged,) = reasons["damaged"].strips
    assert [tile.pixels for tile in damaged.tiles] == [None, None]
    assert [tile.words for tile in damaged.tiles] == ["the PNG is cut off", "the checksum is wrong"]
    assert damaged.sprite == b""

    (wide,) = reasons["aspect outlier"].strips
    assert (wide.tiles[0].width, wide.tiles[0].height) == (64, 3)


def test_it_says_the_same_of_the_same_data_and_something_else_of_other_data(report: DataReport, html: str) -> None:
    assert render(report) == html
    assert render(replace(report, title="another")) != html
