"""CAS: trainings of its own stream, each from its own seed, on the generated pairs alone."""

from dataclasses import replace

import numpy as np
import pytest

from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.cas import classification_score
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from tests.evaluation.utility.bench import NAMES, Bench


def test_each_training_is_one_of_the_generated_pairs_by_its_own_seed(bench: Bench) -> None:
    settings = replace(bench.settings, recipe=Recipe(steps=15, batch_size=32, lr=0.006), repeats=2)
    generated = Pairs(bench.train.images[:100], bench.train.labels[:100])
    val, test = (Pairs(split.images, split.labels) for split in (bench.val, bench.test))
    score = classification_score(generated, val, test, settings)
    assert (len(score.predicted), score.trained_on) == (2, 100)
    validated = []
    for repeat, predicted in enumerate(score.predicted):
        network = train_classifier(
            generated.images,
            generated.labels,
            shape=settings.shape,
            recipe=settings.recipe,
            seed=0,
            stream="evaluate/cas",
            device=settings.device,
            repeat=repeat,
        )
        assert np.array_equal(predicted, classify(network, extract(network, test.images)))
        validated.append((classify(network, extract(network, val.images)) == val.labels).mean())
    assert not np.array_equal(*score.predicted)
    assert score.metrics(None, NAMES)["cas_val_accuracy"] == pytest.approx(np.mean(validated))
    assert np.array_equal(score.hits, np.array(score.predicted) == test.labels)
