"""The report: one file, nothing fetched, the same bytes for the same facts, and every number of the metrics on it."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from rediffuse.evaluation.report.answers import read_memorisation
from rediffuse.evaluation.report.names import points, share
from rediffuse.evaluation.report.page import Report, figure_files, render
from rediffuse.evaluation.report.tables import class_table
from rediffuse.pages import number
from tests.evaluation.report.constructed import HOSTILE, metrics, report

FIGURES = {
    "scale",
    "by_class",
    "confusion",
    "training",
    "noise_levels",
    "guidance",
    "evaluations",
    "gain",
    "suspicious",
}


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.alts += [dict(attrs).get("alt") or ""] if tag == "img" else []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


@pytest.fixture(scope="module")
def html(whole: Report) -> str:
    return render(whole)


def numbers_in(block: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(block, dict):
        for name, value in block.items():
            yield from numbers_in(value, (*path, name))
    elif isinstance(block, int | float) and not isinstance(block, bool):
        yield path, block


def test_every_number_of_the_metrics_is_on_the_page(html: str) -> None:
    text = " ".join(_Page(html).pieces)
    # The spread of KID over its subsets is part of its interval; of other extractors' all-at-once nothing is said.
    silent = {"kid_subset_sd", "stderr"}
    missing = []
    for path, value in numbers_in({name: block for name, block in metrics(HOSTILE).items() if name != "protocol"}):
        written = {share(value), number(value), points(value), f"{value:.2f}", f"{value:.3f}", f"{value:,}"}
        written |= {f"{100 * value:.1f}"}
        shown = any(re.search(rf"(?<![\d.]){re.escape(each)}(?!\d)", text) for each in written)
        if not shown and path[-1] not in silent and path[:1] + path[-1:] != ("by_extractor", "fd_full"):
            missing.append((path, value))
    assert missing == []


def test_the_same_facts_give_the_same_bytes_and_other_facts_others(whole: Report, html: str) -> None:
    assert render(whole) == html
    assert render(replace(whole, title="another")) != html


def test_nothing_is_fetched_and_no_script_runs(html: str) -> None:
    parsed = _Page(html)
    assert parsed.addresses
    assert all(address.startswith("data:image/png;base64,") for address in parsed.addresses)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert not re.search(r"https?://|@import|url\(", html)


def test_every_picture_opens_and_has_words_in_its_place(html: str) -> None:
    parsed = _Page(html)
    for address in parsed.addresses:
        Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).verify()
    assert len(parsed.alts) == len(FIGURES) + 3
    assert all(len(alt) > 20 for alt in parsed.alts)
    assert len(set(parsed.alts)) == len(parsed.alts)


def test_the_figures_are_files_of_stable_names_on_white(whole: Report) -> None:
    drawn = figure_files(whole)
    assert set(drawn) == {f"{name}.png" for name in FIGURES}
    with Image.open(io.BytesIO(drawn["scale.png"])) as picture:
        assert picture.mode == "RGB"
        assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_names_of_classes_are_text_and_not_markup(html: str) -> None:
    assert "<b>co</b>" not in html
    assert "dog &amp; &lt;b&gt;co&lt;/b&gt;" in html
    assert "\u202e" not in html


def test_a_verdict_shows_its_rule_and_what_was_found(html: str) -> None:
    text = _Page(html).text
    for expected in ("Fidelity", "not met", "fidelity.fd <= 2 * fidelity.fd_floor", "4.1 <= 1.64", "not asked"):
        assert expected in text
    # A long name may go on in the next line, a number may not.
    assert "fidelity.<wbr>fd_<wbr>floor" in html
    assert "0.<wbr>9" not in html


def test_blocks_that_were_not_computed_leave_their_sections_out(unpainted: None, html: str) -> None:
    gone = ("How likely", "C_T", "On the scale", "By another extractor", "Do the images look real?")
    nothing = dict.fromkeys(("likelihood", "memorisation", "controls", "by_extractor", "verdicts"))
    bare = render(report(**nothing))
    assert [words for words in gone if words not in html] == []
    assert [words for words in gone if words in bare] == []
    assert "Distances prove no privacy" in bare


def test_canaries_and_membership_that_were_not_asked_for_have_no_row() -> None:
    asked = metrics(())["memorisation"]
    fewer = {name: value for name, value in asked.items() if name != "canaries" and "membership" not in name}
    assert [row.name for row in read_memorisation(fewer)] == [row.name for row in read_memorisation(asked)][:4]


def test_without_classes_it_says_why_there_is_no_utility(unpainted: None) -> None:
    made = report(())
    text = _Page(render(made)).text
    assert "none: the data has no classes" in text
    assert "GAN-test" not in text
    assert "Class by class" not in text
    assert FIGURES - set(made.figures) == {"by_class", "confusion", "gain"}


def test_without_a_sweep_its_figures_are_left_out(unpainted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.evaluation.report import constructed

    full = constructed.made
    monkeypatch.setattr(constructed, "made", lambda names: full(names, swept=False))
    made = report()
    assert FIGURES - set(made.figures) == {"guidance", "evaluations"}
    assert "What fewer evaluations cost" not in render(made)
    assert "Raw weights" not in render(made)


def test_a_hundred_classes_have_a_row_each_and_a_figure_of_those_farthest_from_real(unpainted: None) -> None:
    names = tuple(f"class {place:03}" for place in range(100))
    made = report(names)
    assert made.by_class is not None
    assert [name for name, _ in made.by_class.rows] == list(names)
    assert 'class="scroll tall"' in render(made)
    assert "the 25 classes farthest from real, of 100" in made.figures["by_class"].alt


def test_a_class_worse_than_real_beyond_the_intervals_is_coloured_and_no_other() -> None:
    by_class = {
        "cat": {"images": 20, "fd": 3.0, "fd_low": 2.0, "fd_high": 4.0, "fd_floor": 3.5},
        "dog": {"images": 20, "fd": 9.0, "fd_low": 8.0, "fd_high": 10.0, "fd_floor": 3.5},
    }
    names = ("cat", "dog")
    table = class_table({"by_class": by_class}, metrics(names)["utility"], names)
    assert table is not None
    column = table.headings.index("FD") - 1
    assert {name: cells[column].good for name, cells in table.rows} == {"cat": None, "dog": False}
