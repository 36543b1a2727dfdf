"""The classifier: the same bytes each time, nothing from global generators, any image size, an honest file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from rediffuse.errors import UserError
from rediffuse.evaluation.classifier import (
    Classifier,
    Recipe,
    Shape,
    load_classifier,
    save_classifier,
    train_classifier,
)
from rediffuse.evaluation.features import classify, extract
from rediffuse.randomness import generator

CPU = torch.device("cpu")


def trained(images, labels, shape, *, seed=0, steps=12, recipe=None):
    recipe = recipe or Recipe(steps=steps, batch_size=32, lr=0.004)
    return train_classifier(images, labels, shape=shape, recipe=recipe, seed=seed, stream="test", device=CPU)


def test_two_trainings_write_the_same_bytes_and_leave_the_global_generators_alone(
    digits, shape, tmp_path: Path
) -> None:
    images, labels = digits.train
    contents = []
    for name in ("one", "two"):
        torch.manual_seed(len(contents))
        state = torch.get_rng_state()
        network = trained(images[:200], labels[:200], shape)
        assert torch.equal(torch.get_rng_state(), state)
        save_classifier(network, tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_another_seed_gives_another_classifier(digits, shape) -> None:
    images, labels = digits.train
    one, other = (trained(images[:200], labels[:200], shape, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.project.weight, other.project.weight)


def test_it_learns_the_digits(digits, classifier) -> None:
    images, labels = digits.test
    assert (classify(classifier, extract(classifier, images)) == labels).mean() >= 0.93


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


def test_without_classes_the_weights_are_drawn_and_kept_and_there_is_no_head(digits) -> None:
    shape = Shape.of((1, 8, 8), classes=0, base=8, features=16)
    images = digits.train[0][:100]
    network = trained(images, np.full(100, -1), shape)
    assert torch.equal(network.project.weight, Classifier(shape, generator(0, "test/weights")).project.weight)
    assert extract(network, images).std(axis=0).min() > 0
    with pytest.raises(ValueError, match="no classes"):
        classify(network, extract(network, images))


def test_training_costs_as_many_steps_on_a_large_set_as_on_a_small_one(digits, shape, monkeypatch) -> None:
    shown = []
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, images: shown.append(len(images)) or forward(self, images))
    for count in (20, 500):
        trained(digits.train[0][:count], digits.train[1][:count], shape, steps=7)
    assert shown == [20] * 7 + [32] * 7
