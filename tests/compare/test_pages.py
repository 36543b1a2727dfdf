"""The picture, the page, and the part of other documents."""

import io

import numpy as np
import pytest
from PIL import Image

from rediffuse.compare.experiments import Samples
from rediffuse.compare.pages import BEGIN, END, inserted, page, picture
from rediffuse.errors import UserError
from tests.compare.test_scores import comparison


def samples(value: int, labels: list[int], classes: tuple[str, ...]) -> Samples:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] + np.full((1, 1, 8, 8), value, np.uint8)
    return Samples(images, np.array(labels), classes)


def test_a_document_keeps_its_text_and_gets_the_table_once_however_often():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = inserted(text, "new", "README.md")
    assert once == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert inserted(once, "new", "README.md") == once


def test_a_document_without_markers_is_left_alone_and_one_with_half_of_them_is_refused():
    assert inserted("text", "new", "README.md") is None
    for text in (f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(UserError, match=r"README\.md: .* must stand once"):
            inserted(text, "new", "README.md")


def test_the_picture_shows_the_first_sample_of_each_class_in_a_row_a_preset():
    labels = [1, 0, 1, 0, 2]
    png = picture({name: samples(value, labels, ("a", "b", "c")) for name, value in (("edm", 10), ("flow", 90))})
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    left = drawn.shape[1] - 3 * 52
    shown = [[int(drawn[20 + 52 * row + 24, left + 52 * column + 24]) for column in range(3)] for row in range(2)]
    assert shown == [[11, 10, 14], [91, 90, 94]]


def test_unlabelled_samples_are_shown_from_the_first_to_the_twelfth():
    png = picture({"edm": samples(0, [-1] * 20, ())})
    twelve = picture({"edm": samples(0, [-1] * 12, ())})
    assert png == twelve
    assert Image.open(io.BytesIO(png)).width > 12 * 52


def test_the_page_is_offline_repeats_to_the_byte_and_says_scores_failure_and_parameters():
    png = picture({"edm": samples(0, [0], ("a",))})
    html = page(comparison(), png)
    assert html == page(comparison(), png)
    assert "http" not in html
    assert "data:image/png;base64," in html
    for expected in ('<td class="number">1.5</td>', '<td class="number">failed</td>', "real images", "train.steps"):
        assert expected in html
