"""The digits as three labelled splits, and what classifiers trained on the real ones know of the test images."""

from typing import Any

import pytest
import torch

from rediffuse.evaluation.extractors.classifier import Shape
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import STREAM, train_on_real
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.evaluation.utility.settings import UtilitySettings
from tests.evaluation.utility.bench import Bench, examples


@pytest.fixture(scope="session")
def bench(digits: Any, shape: Shape, recipe: Recipe) -> Bench:
    """600 digits to train on, 100 to validate, 300 to test."""
    settings = UtilitySettings(
        shape=shape, recipe=recipe, repeats=2, real_counts=(50, "all"), seed=0, device=torch.device("cpu")
    )
    images, labels = digits.test
    judge = train_classifier(
        *digits.train, shape=shape, recipe=recipe, seed=0, stream=STREAM, device=torch.device("cpu")
    )
    real = train_on_real(Pairs(*digits.train), Pairs(images[100:], labels[100:]), judge, settings)
    return Bench(
        examples(*digits.train),
        examples(images[:100], labels[:100]),
        examples(images[100:], labels[100:]),
        judge,
        real,
        settings,
    )
