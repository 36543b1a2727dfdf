"""The report: one file, nothing fetched, the same bytes for the same facts, and every number of the metrics on it."""

import base64
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from rediffuse.evaluation.report.answers import read_attacks, read_copies
from rediffuse.evaluation.report.captions import captions, sweep_floor
from rediffuse.evaluation.report.names import CONTROLS, HALF, SCORES, points, printable, share
from rediffuse.evaluation.report.page import Report, figure_files, render
from rediffuse.evaluation.report.tables import HALF_ROW, class_table
from rediffuse.pages import number
from rediffuse.score_names import NAMES, is_known
from tests.evaluation.report.constructed import HOSTILE, SWEPT, estimate, guidance, metrics, report

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
        self.rows: dict[str, str] = defaultdict(str)
        self._row: list[str] | None = None
        self.feed(html)
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self._row = []
        elif tag in ("th", "td") and self._row is not None:
            self._row.append("")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.alts += [dict(attrs).get("alt") or ""] if tag == "img" else []

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._row:
            self.rows[self._row[0].strip()] += " ".join(self._row) + " "

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
        if self._row:
            # An interval stands below its number.
            self._row[-1] += data if len(self._row) == 1 else f"{data} "


@pytest.fixture(scope="module")
def html(whole: Report) -> str:
    return render(whole)


def numbers_in(block: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(block, dict):
        for name, value in block.items():
            yield from numbers_in(value, (*path, name))
    elif isinstance(block, int | float) and not isinstance(block, bool):
        yield path, block


FIDELITY_ROWS = {score.key: score.title for score in SCORES} | {"deviation": "Deviation of the classes"}
ROWS = {
    "gan_test_accuracy": "GAN-test accuracy",
    "cas_accuracy": "Classification accuracy score (CAS)",
    "cas_val_accuracy": "Classification accuracy score (CAS)",
    "real_accuracy": "GAN-test accuracy",
    **{f"cas_macro_{name}": "CAS, macro precision, recall, F1" for name in ("precision", "recall", "f1")},
    "cas_gap": "Gap to real",
    "ct": "C_T",
    "authenticity": "Authenticity",
    "nearest_ratio": "Nearest ratio, median",
    "copies": "Suspiciously near",
    "pixel_copies": "The same, pixel by pixel",
    "membership_auc": "Membership inference, AUC",
    "membership_tpr": "Membership inference, TPR",
    "bits_per_dim": "Bits a dimension",
    **FIDELITY_ROWS,
}


def row_of(path: tuple[str, ...]) -> str:
    """The name of the row that a number of the metrics belongs to."""
    block, *_, last = path
    if "by_class" in path or "per_class" in path or "gan_test_recall" in path:
        return printable(last if "gan_test_recall" in path else path[-2])
    if block == "controls":
        short = HALF_ROW if path[1] == HALF else CONTROLS[path[1]][0]
        return f"{short} (of 162)" if path[1] == "missing_class" else short
    if "augmentation" in path:
        return path[-2]
    if "canaries" in path:
        return "Planted canaries"
    return ROWS[re.sub("(_floor|_shuffled|_baseline)?(_low|_high)?$", "", last)]


def test_every_number_of_the_metrics_stands_in_its_row(html: str) -> None:
    parsed = _Page(html)
    # The spread of KID over its subsets is part of its interval; of other extractors' all-at-once nothing is said.
    silent = {"kid_subset_sd", "stderr", "fd_full", "n_samples", "n"}
    missing = []
    for path, value in numbers_in({name: block for name, block in metrics(HOSTILE).items() if name != "protocol"}):
        written = {share(value), number(value), points(value), f"{value:.2f}", f"{value:.3f}", f"{value:,}"}
        written |= {f"{100 * value:.1f}"}
        if path[-1] not in silent:
            text = parsed.rows[row_of(path)]
            if not any(re.search(rf"(?<![\d.]){re.escape(each)}(?!\d)", text) for each in written):
                missing.append((path, value))
    assert missing == []
    text = " ".join(parsed.pieces)
    assert "1,440 images of 8 × 8 pixels" in text
    assert "Fréchet distance of 0.106" in text


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
    for expected in ("Fidelity", "not met", "fidelity.fd <= 2 * fidelity.fd_floor", "not so: 4.1 <= 1.64", "not asked"):
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
    assert read_attacks(fewer) == []
    assert len(read_attacks(asked)) == 3
    assert read_copies(fewer) == read_copies(asked)


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


def test_a_class_is_coloured_where_it_is_worse_than_real_beyond_both_intervals_and_only_there() -> None:
    floor = estimate("fd_floor", 3.5, 1.0)
    by_class = {
        "cat": {"images": 20, **estimate("fd", 3.0, 1.0), **floor},
        "dog": {"images": 20, **estimate("fd", 9.0, 1.0), **floor},
        "fox": {"images": 20, **estimate("fd", 5.0, 1.0), **floor},
        # With one number for the floor nobody knows how far it scatters.
        "owl": {"images": 20, **estimate("fd", 9.0, 1.0), "fd_floor": 3.5},
    }
    # There are no classifiers of samples that were asked for without classes.
    table = class_table({"by_class": by_class}, None, tuple(by_class))
    assert table is not None
    assert "GAN-test" not in table.headings
    column = table.headings.index("FD") - 1
    assert [cells[column].good for _, cells in table.rows] == [None, False, None, None]


def test_half_of_train_is_a_row_apart_with_its_note(whole: Report, html: str) -> None:
    assert whole.controls is not None
    assert [name for name, _ in whole.controls.rows][-1] == HALF_ROW
    assert "on a scale of its own" in html
    assert "on a scale of its own" not in render(replace(whole, controls=None))


def test_a_condition_that_is_not_met_is_marked(html: str) -> None:
    """The colour of a tile's numbers would win over that of `bad` alone."""
    assert '<b class="bad">not so: 4.1' in html
    own, marked = (
        re.search(rf"^\s*{re.escape(each)} {{", html, re.MULTILINE) for each in (".verdict li b", ".verdict li b.bad")
    )
    assert own is not None
    assert marked is not None
    assert own.start() < marked.start()


def test_what_the_pictures_show_is_said(unpainted: None, whole: Report) -> None:
    said = whole.captions
    assert said["suspicious"].startswith("The 3 of 1,440 most like a training image. Above each its ratio:")
    assert said["suspects"] == "The 3 of 1,440 generated images most like a training image"
    assert whole.figures["suspicious"].alt.startswith("The 3 of 1,440 generated images that are most like")
    assert said["confusion"] == (
        "Counts of real test images by the classifier of the first of the 3 trainings; colour: shares of each row."
    )
    assert "360 images, scored at n = 180" in said["guidance"]
    assert "Level: as many real test images" in said["evaluations"]
    assert said["grid"] == said["film"] == ""
    many = report(tuple(f"class {place}" for place in range(20))).captions
    assert (many["grid"], many["film"]) == (" Of 20 classes the first 16.", " Of 20 classes the first 10.")


def test_the_floor_of_a_curve_is_of_as_many_images_or_left_out() -> None:
    found = metrics(())
    assert sweep_floor(found, SWEPT) == found["fidelity"]
    assert sweep_floor(found, {}) is sweep_floor(found, SWEPT | {"images": 90}) is None
    words = captions(found, SWEPT | {"images": 90}, guidance(), classes=0, suspicious=1)["guidance"]
    assert "of another n, so it is left out" in words
    assert "on real test images" in words
    later = guidance().rename(columns={"cas_accuracy": "cas_val_accuracy"})
    assert "on real validation images" in captions(found, SWEPT, later, classes=0, suspicious=1)["guidance"]


def test_the_model_and_the_way_to_its_commit_are_on_the_page(whole: Report, html: str) -> None:
    text = _Page(html).text
    for expected in (
        "unet (width 32; multipliers 1, 2)",
        "edm (sigma_min 0.002; sigma_max 80.0)",
        "2,400 steps × 128 images, onecycle, peak learning rate 0.002, seed 0",
        "exponential, decay 0.998, from step 400 on",
        "heun, 18 steps, grid karras",
        "1.5 (label)",
        "fp32",
        f"git log --reverse --oneline -S{'cd' * 16} -- dvc.lock",
        "12" * 32,
        "34" * 32,
    ):
        assert expected in text, expected
    assert whole.model["weighting of the loss"] == "edm"
    assert "ddim karras" in text


def test_the_invented_metrics_have_every_name_that_metrics_may_have() -> None:
    """So that what is new is asked for on the page: `test_every_number_of_the_metrics_stands_in_its_row`."""
    paths = [path for path, _ in numbers_in({**metrics(HOSTILE), "protocol": {}, "verdicts": {}})]
    assert [path for path in paths if not is_known(path)] == []

    def fits(name: tuple[str, ...], path: tuple[str, ...]) -> bool:
        return len(name) == len(path) and all(part in ("*", own) for part, own in zip(name, path, strict=True))

    assert [name for name in NAMES if not any(fits(name, path) for path in paths)] == []
