"""The report: one file, nothing fetched, the same bytes for the same facts, and every fact in it."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rediffuse.data.card import Card
from rediffuse.evaluation.memorisation.nearest import nearest
from rediffuse.evaluation.report.assembly import assemble, beside_nearest
from rediffuse.evaluation.report.figures import confusion_picture, montage, noise_level_curve, training_curves
from rediffuse.evaluation.report.page import Report, render
from rediffuse.evaluation.report.readings import read_fidelity, read_likelihood, read_utility
from rediffuse.evaluation.utility.agreement import Agreement

NAMES = ("cat", "dog & <b>co</b>")
FIDELITY = {
    f"{name}{suffix}": value
    for name, value in {"fd": 4.0, "kid": 0.5, "precision": 0.75, "recall": 0.5, "f1": 0.6}.items()
    for suffix, value in {"": value, "_floor": value / 2, "_sd": 0.01}.items()
} | {"kid_subset_sd": 0.02, "fd_full": 0.1}
LIKELIHOOD = {"bits_per_dim": 3.125, "stderr": 0.25, "method": "ode", "n": 20}
UTILITY = {"gan_test_accuracy": 0.9, "cas_accuracy": 0.8, "real_accuracy": 0.95}
AGREEMENT = Agreement.of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)


def png(seed: int) -> bytes:
    return montage([np.random.default_rng(seed).integers(0, 256, (3, 1, 8, 8), np.uint8)])


def report(*, labelled: bool = True) -> Report:
    per_class = dict(zip(NAMES, AGREEMENT.per_class, strict=True))
    return assemble(
        metrics={
            "fidelity": FIDELITY,
            "utility": {**UTILITY, "per_class": per_class} if labelled else None,
            "likelihood": LIKELIHOOD,
            "n_samples": 40,
            "protocol": {"images": 20, "folds": 2} | ({} if labelled else {"utility": "none: no classes"}),
        },
        card=Card(
            modality="image",
            shape=(1, 8, 8),
            classes=NAMES if labelled else (),
            count=50,
            class_counts=dict.fromkeys(NAMES, 25) if labelled else {},
            mean=-0.4,
            std=0.75,
            source="folder",
            digest="d1ge57",
        ),
        params={
            "sample": {"sampler": "heun", "steps": 18, "guidance": 1.5},
            "model": {"name": "unet"},
            "diffusion": {"preset": "edm"},
        },
        grid=png(0),
        film=png(1),
        copies=png(2),
        training=pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "lr": [0.1, 0.2, 0.1]}),
        validation=pd.DataFrame({"step": [2, 3], "val_loss": [2.5, 1.5], "val_loss_ema": [2.4, 1.4]}),
        noise_levels=pd.DataFrame({"noise_to_signal": [0.01, 1, 80], "loss": [1.0, 0.5, 0.9], "mse": [0.01, 0.1, 0.5]}),
        agreement=AGREEMENT if labelled else None,
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(html: str) -> _Page:
    parsed = _Page()
    parsed.feed(html)
    return parsed


def test_the_same_facts_give_the_same_bytes_and_other_facts_others() -> None:
    assert render(report()) == render(report())
    assert render(report()) != render(replace(report(), title="another"))


def test_nothing_is_fetched_and_no_script_runs() -> None:
    html = render(report())
    parsed = page(html)
    assert parsed.addresses
    assert all(address.startswith("data:image/png;base64,") for address in parsed.addresses)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert not re.search(r"https?://|@import|url\(", html)


def test_every_picture_is_a_png_that_opens() -> None:
    for address in page(render(report())).addresses:
        Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).verify()


def test_it_says_the_scores_their_floors_and_the_parameters() -> None:
    text = page(render(report())).text
    for expected in (
        "unet · edm · folder",
        "4 ± 0.01",
        "2.0 times as far",
        "75 of 100",
        "0.900",
        "3.125 ± 0.250",
        "takes 3.12 bits; without",
        "d1ge57",
        "sample.guidance",
        "1.5",
    ):
        assert expected in text, expected


def test_names_of_classes_are_text_and_not_markup() -> None:
    html = render(report())
    assert "<b>co</b>" not in html
    assert "dog &amp; &lt;b&gt;co&lt;/b&gt;" in html


def test_without_classes_it_says_why_there_is_no_utility() -> None:
    parsed = page(render(report(labelled=False)))
    assert "none: no classes" in parsed.text
    assert "GAN-test" not in parsed.text


def test_a_likelihood_that_was_not_computed_leaves_its_section_out() -> None:
    assert read_likelihood(None) == []
    assert "How likely" in render(report())
    assert "How likely" not in render(replace(report(), likelihood=[]))


def test_a_bound_is_called_one() -> None:
    (reading,) = read_likelihood(LIKELIHOOD | {"method": "bound"})
    assert "takes 3.12 bits at most;" in reading.words


def test_readings_call_good_what_reaches_its_floor_and_nothing_else() -> None:
    poor = {row.name: row.good for row in read_fidelity(FIDELITY)}
    assert poor["Fréchet distance"] is False
    assert poor["Precision"] is True
    fine = FIDELITY | {"fd": 2.01, "kid": 0.25, "recall": 0.1}
    good = {row.name: row.good for row in read_fidelity(fine)}
    assert good["Fréchet distance"] is True
    assert good["Kernel distance"] is True
    assert good["Recall"] is False
    assert [row.value for row in read_utility(UTILITY)] == ["0.900", "0.800"]
    assert read_utility(None) == []


def test_figures_repeat_to_the_byte_and_differ_between_light_and_dark() -> None:
    table = pd.DataFrame({"noise_to_signal": [0.1, 1.0], "loss": [1.0, 0.5], "mse": [0.1, 0.2]})
    one, again = noise_level_curve(table), noise_level_curve(table)
    assert one == again
    assert one.light != one.dark
    assert confusion_picture(np.eye(3, dtype=np.int64), "abc") == confusion_picture(np.eye(3, dtype=np.int64), "abc")


def test_curves_with_values_below_zero_can_be_drawn() -> None:
    training = pd.DataFrame({"step": [1, 2], "loss": [0.5, -0.5], "lr": [0.1, 0.1]})
    validation = pd.DataFrame({"step": [2], "val_loss": [-0.1], "val_loss_ema": [-0.2]})
    assert Image.open(io.BytesIO(training_curves(training, validation).light)).width > 500


def test_a_montage_shows_each_pixel_unchanged() -> None:
    rows = [np.random.default_rng(row).integers(0, 256, (2, 3, 8, 8), np.uint8) for row in range(2)]
    drawn = np.asarray(Image.open(io.BytesIO(montage(rows, cell=16))))
    assert drawn.shape == (36, 36, 4)
    assert np.array_equal(drawn[20:36:2, 0:16:2, :3], rows[1][0].transpose(1, 2, 0))
    assert (drawn[16:20, :, 3] == 0).all()


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_nearest_neighbours_come_nearest_first_whatever_the_block(block: int) -> None:
    draw = np.random.default_rng(0)
    points, queries = draw.standard_normal((50, 4)).astype(np.float32), draw.standard_normal((6, 4)).astype(np.float32)
    distances = np.linalg.norm(points[None].astype(float) - queries[:, None], axis=2)
    assert np.array_equal(nearest(queries, points, 3, block).indices, np.argsort(distances, axis=1)[:, :3])
    assert nearest(points[7:8], points, 1, block).indices.item() == 7


def test_a_copy_of_a_training_image_stands_right_above_its_original(digits, classifier) -> None:
    from rediffuse.evaluation.extractors.features import extract

    images = digits.train[0][:60]
    chosen = images[[5, 17]]
    drawn = Image.open(
        io.BytesIO(beside_nearest(chosen, extract(classifier, chosen), images, extract(classifier, images)))
    )
    pixels = np.asarray(drawn)
    assert np.array_equal(pixels[:48, :48], pixels[52:100, :48])
