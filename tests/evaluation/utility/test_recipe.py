"""The recipe: the same bytes each time, nothing from global generators, the same cost for few and many images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse.evaluation.extractors.classifier import Classifier, Shape, save_classifier
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility import recipe as recipe_module
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
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


def test_trainings_of_one_stream_differ_in_all_they_draw(digits, shape, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(recipe_module, "generator", lambda *key, **named: drawn.append((key, named)) or generator(*key))
    images, labels = digits.train
    for repeat in (0, 1):
        train_classifier(
            images[:64],
            labels[:64],
            shape=shape,
            recipe=Recipe(steps=3, batch_size=32, lr=0.004),
            seed=0,
            stream="test",
            device=CPU,
            repeat=repeat,
        )
    half = len(drawn) // 2
    # The last key of each is of the scale, which chooses images to measure features by, and may be alike.
    assert all(one != other for one, other in zip(drawn[: half - 1], drawn[half:-1], strict=True))


def test_images_without_a_label_are_not_trained_on(digits, shape) -> None:
    images, labels = digits.train
    some = np.where(np.arange(200) % 4, labels[:200], -1)
    mixed, alone = trained(images[:200], some, shape), trained(images[:200][some >= 0], some[some >= 0], shape)
    for name, weights in alone.named_parameters():
        assert torch.equal(mixed.get_parameter(name), weights), name
