"""The classifier: any image size, features of one unit, an honest file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.classifier import (
    Classifier,
    Shape,
    load_classifier,
    save_classifier,
)
from rediffuse.evaluation.extractors.features import extract
from rediffuse.randomness import generator

CPU = torch.device("cpu")


def test_features_have_unit_mean_square_on_the_training_images(digits, classifier) -> None:
    features = extract(classifier, digits.train[0]).astype(np.float64)
    assert (features**2).mean() == pytest.approx(1, rel=1e-4)


def test_calibration_leaves_the_logits_as_they_were(digits, classifier) -> None:
    images = torch.from_numpy(digits.test[0][:64])
    scale = classifier.scale.clone()
    with torch.no_grad():
        before = classifier(images)
        classifier.scale.fill_(7.0)
        after = classifier(images)
        classifier.scale.copy_(scale)
    torch.testing.assert_close(before, after)


def test_a_saved_classifier_loads_to_the_same_features_and_saves_to_the_same_bytes(
    digits, classifier, tmp_path: Path
) -> None:
    save_classifier(classifier, tmp_path / "first")
    loaded = load_classifier(tmp_path / "first", CPU)
    save_classifier(loaded, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    images = digits.test[0][:20]
    assert np.array_equal(extract(loaded, images), extract(classifier, images))
    with safe_open(tmp_path / "first", "pt") as file:
        assert list(file.metadata()) == ["classifier"]
        assert json.loads(file.metadata()["classifier"])["features"] == classifier.shape.features


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_a_file_that_is_no_classifier_is_a_users_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "classifier.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="is not a classifier of the reference stage"):
        load_classifier(path, CPU)


@pytest.mark.parametrize(("side", "channels"), [(4, 1), (8, 1), (28, 1), (33, 3), (64, 3)])
def test_any_size_from_four_pixels_gives_features_and_logits(side: int, channels: int) -> None:
    shape = Shape.of((channels, side, side + 1), classes=3, base=8, features=16)
    network = Classifier(shape, generator(0, "test"))
    images = np.random.default_rng(0).integers(0, 256, (2, channels, side, side + 1), np.uint8)
    features = network.features(torch.from_numpy(images))
    assert features.shape == (2, 16)
    assert not torch.equal(features[0], features[1])
    assert network.logits(features).shape == (2, 3)


def test_images_under_four_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="3×8 are too small"):
        Classifier(Shape.of((1, 3, 8), classes=2, base=8, features=4))


def test_pooling_into_cells_is_adaptive_average_pooling() -> None:
    shape = Shape.of((1, 28, 41), classes=0, base=8, features=4)
    network = Classifier(shape)
    x = torch.rand(2, 8, 7, 10)
    pooled = network.row_cells @ x @ network.column_cells.T
    torch.testing.assert_close(pooled, torch.nn.functional.adaptive_avg_pool2d(x, (4, 4)))
