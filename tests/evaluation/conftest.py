"""The 1,797 digits of scikit-learn as uint8 images, cut into train and test; and a classifier trained on a part."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from rediffuse.evaluation.extractors.classifier import Classifier, Images, Labels, Shape
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier

SHAPE = Shape(channels=1, height=8, width=8, classes=10, base=16, features=32)
RECIPE = Recipe(steps=80, batch_size=64, lr=0.006, shift=0.0)


@dataclass(frozen=True)
class Digits:
    """Shuffled digits: 600 to train on and 400 to test on."""

    train: tuple[Images, Labels]
    test: tuple[Images, Labels]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more to waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Digits:
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = np.round(bunch.images * 255 / 16).astype(np.uint8)[order, None]
    labels = bunch.target.astype(np.int64)[order]
    return Digits((images[:600], labels[:600]), (images[1000:1400], labels[1000:1400]))


@pytest.fixture(scope="session")
def shape() -> Shape:
    return SHAPE


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return RECIPE


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> Classifier:
    return train_classifier(
        *digits.train, shape=SHAPE, recipe=RECIPE, seed=0, stream="test", device=torch.device("cpu")
    )
