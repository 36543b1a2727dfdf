"""Figures: the same bytes for the same numbers, whatever the classes are called and however many there are."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rediffuse.charts import Picture
from rediffuse.evaluation.report.figures.classes import by_class_picture, confusion_picture
from rediffuse.evaluation.report.figures.curves import (
    evaluations_curve,
    noise_level_curve,
    training_curves,
)
from rediffuse.evaluation.report.figures.gain import gain_picture
from rediffuse.evaluation.report.figures.pairs import suspicious_picture
from rediffuse.evaluation.report.figures.scale import scale_picture
from rediffuse.evaluation.report.figures.words import label
from tests.evaluation.report import constructed

NAMES = ("cat", "dog", "fox")
METRICS = constructed.metrics(NAMES)
DRAWN: dict[str, Callable[[], Picture]] = {
    "scale": lambda: scale_picture(METRICS["fidelity"], METRICS["controls"]),
    "by_class": lambda: by_class_picture(
        METRICS["fidelity"]["by_class"], METRICS["fidelity"]["labels"]["by_class"], NAMES
    ),
    "gain": lambda: gain_picture(METRICS["utility"]["augmentation"]),
    "evaluations": lambda: evaluations_curve(constructed.evaluations()),
}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


# The order of a table's rows decides nothing.
AGAIN = {"evaluations": lambda: evaluations_curve(constructed.evaluations().iloc[::-1])}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_repeats_to_the_byte_and_differs_between_light_and_dark(name: str) -> None:
    first = DRAWN[name]()
    assert {**DRAWN, **AGAIN}[name]() == first
    assert first.light != first.dark


def test_names_that_are_formulas_too_long_or_not_printable_can_be_drawn() -> None:
    drawn = confusion_picture(np.eye(5, dtype=np.int64), constructed.HOSTILE)
    assert pixels(drawn.light).shape[0] > 300
    assert label("$x_1$") == "$x_1$"
    assert label("n" * 90) == "n" * 17 + "…"
    assert label("a\nb\u202e") == "a\\nb\\u202e"


def test_a_hundred_classes_keep_the_figure_on_the_page(unpainted: None) -> None:
    names = [f"class {place}" for place in range(100)]
    assert confusion_picture(np.eye(100, dtype=np.int64), names).width <= 860
    assert by_class_picture(constructed.by_class(tuple(names)), {}, names).width <= 860


def test_curves_with_values_below_zero_can_be_drawn(unpainted: None) -> None:
    training = pd.DataFrame({"step": [1, 2], "loss": [0.5, -0.5], "lr": [0.1, 0.1]})
    validation = pd.DataFrame({"step": [2], "val_loss": [-0.1], "val_loss_ema": [-0.2]})
    assert training_curves(training, validation).width == 858


def test_a_table_of_the_averaged_weights_alone_can_be_drawn(unpainted: None) -> None:
    assert noise_level_curve(constructed.noise_levels()[["noise_to_signal", "loss", "mse"]]).width == 858


def test_a_copy_stands_right_below_its_generated_image() -> None:
    draw = np.random.default_rng(0)
    real = draw.integers(0, 256, (6, 1, 8, 8), np.uint8)
    shown = pixels(
        suspicious_picture(real[:2], [real[[0, 2, 3]], real[[1, 4, 5]]], np.array([0.0, 0.0]), among=9).light
    )
    rows, columns = np.nonzero(shown[..., 3] == 255)
    # The upper left image and the one below it, each as wide as the page gives it: the same pixels.
    left = columns[rows > shown.shape[0] // 2].min()
    column = shown[:, left + 40]
    filled = np.flatnonzero(column[:, 3] == 255)
    blocks = [block for block in np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1) if len(block) > 40]
    assert len(blocks) == 4
    size = min(map(len, blocks)) - 2
    first, second, third = (column[block[1] : block[1] + size, :3].astype(int) for block in blocks[:3])
    assert np.abs(first - second).mean() < 8
    assert np.abs(first - third).mean() > 40
