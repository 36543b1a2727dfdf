"""The audit finds what is planted, and nothing where nothing is: on the digits, real features and all."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rediffuse.data.canaries import canaries, planted
from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.classifier import Classifier
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.memorisation.audit import Audit, memorisation_metrics
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.evaluation.samples import Samples
from rediffuse.score_names import is_known
from rediffuse.tables import rounded
from tests.evaluation.memorisation.models import attacked

SETTINGS = MemorisationSettings(seed=0, membership_images=300, membership_levels=4, canaries=0, canary_repeats=10)


def part(first: int, end: int) -> Examples:
    """Some of the digits, in the order that the fixture `digits` has them in."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))[first:end]
    images = np.round(bunch.images * 255 / 16).astype(np.uint8)[order, None]
    return Examples(images, bunch.target.astype(np.int64)[order], tuple(f"digit {row}" for row in order))


TRAIN, OTHER, TEST = part(0, 600), part(600, 1000), part(1000, 1400)


def rows(examples: Examples, chosen: np.ndarray) -> Examples:
    return Examples(examples.images[chosen], examples.labels[chosen], tuple(examples.ids[row] for row in chosen))


def audit(
    network: Classifier,
    samples: Examples,
    model: Attacked,
    settings: MemorisationSettings = SETTINGS,
    train: Examples = TRAIN,
    test: Examples = TEST,
    classes: int = 10,
) -> Audit:
    return memorisation_metrics(
        Samples(samples.images, samples.labels),
        train,
        test,
        generated_features=extract(network, samples.images),
        train_features=extract(network, train.images),
        test_features=extract(network, test.images),
        seen=classify(network, extract(network, samples.images)),
        seen_test=classify(network, extract(network, test.images)),
        classes=classes,
        attacked=model,
        settings=settings,
        extractor={"extractor": "classifier", "digest": "0" * 64},
    )


def noised(examples: Examples, scale: float) -> Examples:
    noise = np.random.default_rng(0).normal(0, scale, examples.images.shape)
    images = np.clip(examples.images + noise, 0, 255).astype(np.uint8)
    return Examples(images, examples.labels, examples.ids)


@pytest.fixture(scope="module")
def copying(classifier: Classifier) -> Audit:
    return audit(classifier, TRAIN, attacked(TRAIN.images))


@pytest.fixture(scope="module")
def honest(classifier: Classifier) -> Audit:
    return audit(classifier, OTHER, attacked(OTHER.images))


def test_a_model_that_returns_its_training_images_fails_everything(copying: Audit) -> None:
    found = copying.metrics
    assert found["ct_high"] < -3
    assert found["authenticity"] == 0 < 0.3 < found["authenticity_floor"]
    assert found["nearest_ratio"] == 0 < 0.5 < found["nearest_ratio_floor"]
    assert (found["copies"], found["pixel_copies"], found["pixel_copies_floor"]) == (1.0, 600, 0)
    assert found["membership_auc_low"] > 0.95
    assert found["membership_tpr_low"] > 0.7
    assert (copying.suspects.ratios == 0).all()
    assert np.array_equal(copying.suspects.train[:, 0], copying.suspects.generated)


def test_copies_under_labels_that_have_nothing_to_do_with_them_fail_too(classifier: Classifier, copying: Audit) -> None:
    labels = np.random.default_rng(0).permutation(TRAIN.labels)
    found = audit(classifier, Examples(TRAIN.images, labels, TRAIN.ids), attacked(TRAIN.images)).metrics
    assert (found["ct"], found["copies"]) == (copying.metrics["ct"], 1.0)


def test_real_images_that_were_held_out_pass_under_such_labels(classifier: Classifier) -> None:
    labels = np.random.default_rng(0).permutation(OTHER.labels)
    found = audit(classifier, Examples(OTHER.images, labels, OTHER.ids), attacked(OTHER.images)).metrics
    assert abs(found["ct"]) < 2


def test_copies_are_found_where_test_images_are_copies_as_well(classifier: Classifier) -> None:
    leaked = rows(TEST, np.arange(len(TEST)))
    leaked.images[:20] = TRAIN.images[:20]
    copied = audit(classifier, TRAIN, attacked(TRAIN.images), test=leaked).metrics
    assert (copied["copies"], copied["copies_floor"], copied["pixel_copies_floor"]) == (1.0, 0.05, 20)
    assert audit(classifier, OTHER, attacked(OTHER.images), test=leaked).metrics["copies"] < 0.01


def test_copies_with_a_little_noise_on_them_fail_too(classifier: Classifier) -> None:
    found = audit(classifier, noised(TRAIN, 6), attacked(TRAIN.images)).metrics
    assert found["ct_high"] < -3
    assert found["authenticity_high"] < found["authenticity_floor"] - 0.2
    assert found["copies"] > 0.5
    assert found["pixel_copies"] == 0


def test_real_images_that_were_held_out_pass(honest: Audit) -> None:
    found = honest.metrics
    assert found["ct_low"] < 0 < found["ct_high"]
    assert found["ct_floor_low"] < 0 < found["ct_floor_high"]
    assert found["nearest_ratio_low"] < found["nearest_ratio_floor"] < found["nearest_ratio_high"]
    assert found["copies_low"] < 0.01 <= found["copies_floor"] < found["copies_high"] < 0.05
    assert found["authenticity_low"] < found["authenticity_floor"] < found["authenticity_high"]
    assert found["nearest_ratio"] == pytest.approx(found["nearest_ratio_floor"], rel=0.1)
    assert found["copies"] < 0.03
    assert found["pixel_copies"] == 0
    assert found["membership_auc_low"] < 0.5 < found["membership_auc_high"]
    assert found["membership_tpr_low"] < 0.02
    assert honest.suspects.table(TRAIN.ids)["ratio"].is_monotonic_increasing


def test_names_and_protocol(honest: Audit) -> None:
    floors = ("ct_floor", "authenticity_floor", "nearest_ratio_floor")
    intervals = ("ct", "authenticity", "nearest_ratio", "copies", "membership_auc", "membership_tpr", *floors)
    assert honest.metrics.keys() == {
        *(f"{name}{end}" for name in intervals for end in ("", "_low", "_high")),
        *("copies_floor", "pixel_copies", "pixel_copies_floor"),
    }
    assert all(is_known(("memorisation", name)) for name in honest.metrics)
    assert honest.protocol == {
        "extractor": "classifier",
        "digest": "0" * 64,
        "images": 400,
        "reference": "train (600 images)",
        "floor": "test (400 images)",
        "cells": "10 of 10 classes, as the judge sees them",
        "ct": "400 generated against 400 test images",
        "ct_floor": "203 against 197 test images",
        "neighbours": 1,
        "membership": "300 train and 300 test images at 4 noise levels",
        "false_positives": 0.01,
        "canaries": "none: train.canaries is 0",
        "seed": 0,
    }
    assert list(honest.suspects.table(TRAIN.ids)) == ["generated", "train", "distance", "ratio"]
    assert honest.suspects.train.shape == (100, 3)


def test_neither_the_order_of_any_split_nor_of_the_samples_changes_a_number(
    classifier: Classifier, honest: Audit
) -> None:
    draw = np.random.default_rng(7)
    mixed = [rows(each, draw.permutation(len(each))) for each in (OTHER, TRAIN, TEST)]
    found = audit(classifier, mixed[0], attacked(OTHER.images), train=mixed[1], test=mixed[2])
    assert rounded(found.metrics) == rounded(honest.metrics)
    assert found.suspects.ratios.tobytes() == honest.suspects.ratios.tobytes()


CANARIES = replace(SETTINGS, canaries=8, membership_images=0)


def with_canaries(examples: Examples) -> Examples:
    return planted(examples, canaries("planted", 8, seed=0, shape=(1, 8, 8), classes=10), 1)


def test_canaries_that_were_learned_are_exposed_and_extracted(classifier: Classifier) -> None:
    learned = with_canaries(TRAIN)
    found = audit(classifier, learned, attacked(learned.images), CANARIES).metrics
    assert not [name for name in found if name.startswith("membership")]
    section = found["canaries"]
    assert section.keys() == {
        *("count", "repeats", "exposure", "exposure_low", "exposure_high", "exposure_by_chance", "extracted")
    }
    assert (section["count"], section["repeats"], section["extracted"]) == (8, 10, 8)
    assert section["exposure"] == pytest.approx(9.0)


def test_canaries_that_no_model_has_seen_are_as_exposed_as_by_chance(classifier: Classifier) -> None:
    found = audit(classifier, TRAIN, attacked(TRAIN.images), CANARIES).metrics["canaries"]
    assert found["exposure_low"] < found["exposure_by_chance"] < found["exposure_high"] < 5
    assert found["extracted"] == 0


@pytest.mark.parametrize("settings", [SETTINGS, CANARIES], ids=["membership", "canaries"])
def test_whatever_is_asked_of_data_without_classes_is_answered_in_one_cell(
    classifier: Classifier, settings: MemorisationSettings
) -> None:
    bare = [Examples(each.images, np.full(len(each), -1), each.ids) for each in (OTHER, TRAIN, TEST)]
    found = audit(classifier, bare[0], attacked(OTHER.images), settings, train=bare[1], test=bare[2], classes=0)
    assert found.protocol["cells"] == "one"
    assert abs(found.metrics["ct"]) < 3
    assert found.metrics["ct"] != audit(classifier, OTHER, attacked(OTHER.images), settings).metrics["ct"]


def numbers(value: Any) -> list[float]:
    return [number for entry in value.values() for number in numbers(entry)] if isinstance(value, dict) else [value]


def test_tiny_splits_and_images_that_all_look_alike_give_numbers(classifier: Classifier) -> None:
    settings = replace(CANARIES, canaries=1, membership_images=5)
    few = audit(classifier, part(0, 2), attacked(TRAIN.images), settings, train=part(2, 5), test=part(5, 7))
    assert np.isfinite(numbers(few.metrics)).all()
    assert (few.suspects.train.shape, few.protocol["cells"]) == ((2, 3), "one")
    alike = Examples(np.zeros((30, 1, 8, 8), np.uint8), np.arange(30) % 3, tuple(map(str, range(30))))
    found = audit(classifier, alike, attacked(alike.images), SETTINGS, train=alike, test=alike).metrics
    assert np.isfinite(numbers(found)).all()
    assert (found["ct"], found["ct_floor"], found["authenticity"], found["copies"], found["copies_floor"]) == (
        0,
        0,
        0,
        1,
        1,
    )
    assert (found["membership_auc"], found["pixel_copies"]) == (0.5, 30)


def test_fewer_than_two_images_are_refused(classifier: Classifier) -> None:
    with pytest.raises(ValueError, match=r"^1 images are too few: at least 2 generated and 2 test images"):
        audit(classifier, part(0, 1), attacked(TRAIN.images))
