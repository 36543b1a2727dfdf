"""The section `utility` for generators whose scores are known: a perfect one, noise, wrong labels, a missing class."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rediffuse.evaluation.extractors import features
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import train_on_real
from rediffuse.evaluation.utility.recipe import Recipe
from rediffuse.evaluation.utility.section import utility_metrics
from tests.evaluation.utility.bench import JUDGE, NAMES, Bench, examples

# What follows asks for one training alone where more would only cost time.
ONCE: dict[str, Any] = {"repeats": 1, "real_counts": ()}


def once(bench: Bench) -> Bench:
    """With the first of the trainings on real images alone."""
    return replace(bench, real=replace(bench.real, hits={"all": bench.real.hits["all"][:1]}))


@pytest.fixture(scope="module")
def perfect(bench: Bench) -> dict[str, Any]:
    """The scores of copies of the training images."""
    return bench.metrics(bench.train.images, bench.train.labels)


def test_copies_of_the_training_images_teach_as_real_images_do(perfect: dict[str, Any]) -> None:
    assert perfect["real_accuracy"] > 0.9
    assert perfect["cas_accuracy"] == pytest.approx(perfect["real_accuracy"], abs=0.02)
    assert perfect["cas_gap_low"] < 0 < perfect["cas_gap_high"]
    assert perfect["cas_gap"] == pytest.approx(perfect["real_accuracy"] - perfect["cas_accuracy"])


def test_copies_of_the_training_images_add_to_few_real_ones_and_nothing_to_all(perfect: dict[str, Any]) -> None:
    few, everything = perfect["augmentation"]["50"], perfect["augmentation"]["all"]
    assert few["gain_low"] > 0
    assert few["gain"] > 0.05
    assert everything["gain_low"] < 0 < everything["gain_high"]
    assert everything["real_accuracy"] == perfect["real_accuracy"]
    for each in (few, everything):
        assert each["gain"] == pytest.approx(each["accuracy"] - each["real_accuracy"])


def test_its_numbers_have_the_names_that_other_tools_read(perfect: dict[str, Any]) -> None:
    with_ends = {
        f"{name}{end}"
        for name in (
            "gan_test_accuracy",
            "cas_accuracy",
            "cas_val_accuracy",
            "cas_macro_precision",
            "cas_macro_recall",
            "cas_macro_f1",
            "real_accuracy",
            "cas_gap",
        )
        for end in ("", "_low", "_high")
    }
    others = {"gan_test_recall", "gan_test_accuracy_shuffled", "per_class", "augmentation"}
    assert perfect.keys() == with_ends | others
    for name in with_ends - {name for name in with_ends if name.endswith(("_low", "_high"))}:
        assert perfect[f"{name}_low"] <= perfect[name] <= perfect[f"{name}_high"]
    assert perfect["augmentation"].keys() == {"50", "all"}
    added = perfect["augmentation"]["50"]
    assert added.keys() == {
        f"{name}{end}" for name in ("real_accuracy", "accuracy", "gain") for end in ("", "_low", "_high")
    }
    for name in ("real_accuracy", "accuracy"):
        assert added[f"{name}_low"] < added[name] < added[f"{name}_high"]
    assert tuple(perfect["per_class"]) == tuple(perfect["gan_test_recall"]) == NAMES
    assert perfect["per_class"]["3"].keys() == {"precision", "recall", "f1"}


def test_labels_that_say_nothing_of_their_image_are_at_chance(bench: Bench, perfect: dict[str, Any]) -> None:
    assert perfect["gan_test_accuracy"] > 0.98
    assert perfect["gan_test_accuracy_shuffled"] == pytest.approx(0.1, abs=0.04)
    labels = np.random.default_rng(1).permutation(bench.train.labels)
    scores = once(bench).metrics(bench.train.images, labels, **ONCE)
    assert scores["gan_test_accuracy"] == pytest.approx(0.1, abs=0.05)
    assert scores["cas_accuracy"] < 0.3


def test_noise_teaches_nothing(bench: Bench) -> None:
    noise = np.random.default_rng(0).integers(0, 256, bench.train.images.shape, dtype=np.uint8)
    scores = once(bench).metrics(noise, bench.train.labels, **ONCE)
    assert scores["cas_accuracy"] < 0.25
    assert scores["cas_gap_low"] > 0.5
    assert scores["gan_test_accuracy"] < 0.2


def test_a_missing_class_is_never_recalled_and_the_others_are(bench: Bench, perfect: dict[str, Any]) -> None:
    kept = bench.train.labels != 4
    found = once(bench).score(bench.train.images[kept], bench.train.labels[kept], **ONCE)
    assert found.metrics is not None
    assert found.metrics["per_class"]["4"] == {"precision": 0, "recall": 0, "f1": 0}
    # Nobody asked for it, so nothing is known of it.
    assert "4" not in found.metrics["gan_test_recall"]
    for name in set(NAMES) - {"4"}:
        assert found.metrics["per_class"][name]["recall"] > perfect["per_class"][name]["recall"] - 0.1
        assert found.metrics["gan_test_recall"][name] == perfect["gan_test_recall"][name]
    assert found.protocol["pairs"] == kept.sum()
    assert found.agreement.confusion.sum() == 300
    assert found.agreement.confusion[:, 4].sum() == 0


def test_no_more_pairs_are_learnt_from_than_there_are_real_ones(bench: Bench) -> None:
    """Samples beyond as many as the training split holds say nothing to CAS, but the judge sees them."""
    images, labels = (np.concatenate([array, array]) for array in (bench.train.images, bench.train.labels))
    labels[600:] = (labels[600:] + 1) % 10
    found = once(bench).score(images, labels, **ONCE)
    assert found.protocol["pairs"] == 600
    assert found.protocol["judged"] == "1200 generated images"
    assert found.metrics["cas_accuracy"] > 0.9
    assert found.metrics["gan_test_accuracy"] == pytest.approx(0.5, abs=0.01)


def test_unlabelled_images_count_for_nothing(bench: Bench) -> None:
    """As if they were not there, real and generated ones alike, whatever they show."""
    train, test = bench.train, bench.test
    black = np.zeros((5, *train.images.shape[1:]), np.uint8)
    mixed = replace(
        once(bench),
        train=examples(np.concatenate([black, train.images]), np.concatenate([np.full(5, -1), train.labels])),
        test=examples(np.concatenate([test.images, black]), np.concatenate([test.labels, np.full(5, -1)])),
    )
    clean = once(bench).score(train.images[:200], train.labels[:200], **ONCE)
    found = mixed.score(mixed.train.images[:205], mixed.train.labels[:205], **ONCE)
    assert found.metrics == clean.metrics
    assert found.protocol == clean.protocol
    named = {name: found.protocol[name] for name in ("extractor", "digest", "images", "pairs", "repeats", "seed")}
    assert named == {
        "extractor": "classifier", "digest": JUDGE.digest, "images": 300, "pairs": 200, "repeats": 1, "seed": 0,
    }  # fmt: skip


def test_fewer_samples_than_a_batch_are_scored_too(bench: Bench) -> None:
    found = once(bench).score(bench.train.images[:7], bench.train.labels[:7], repeats=1, real_counts=("all",))
    assert found.protocol["pairs"] == 7
    # The gap would be that between 7 and 600 images.
    assert not [name for name in found.metrics if name.startswith("cas_gap")]
    assert found.protocol["cas_gap"].startswith("none: there are more real pairs")
    assert 0 < found.metrics["cas_accuracy"] < 0.8
    assert abs(found.metrics["augmentation"]["all"]["gain"]) < 0.05


def test_a_single_class_is_always_right(bench: Bench) -> None:
    splits = {"train": bench.train, "val": bench.val, "test": bench.test}
    one = {name: examples(split.images[:40], np.zeros(40, np.int64)) for name, split in splits.items()}
    settings = replace(
        bench.settings,
        shape=replace(bench.settings.shape, classes=1),
        recipe=Recipe(steps=2, batch_size=8, lr=0.001),
        real_counts=(20, "all"),
    )
    pairs = Pairs(one["train"].images, one["train"].labels)
    judge = settings.trained(pairs, "test", 0)
    found = utility_metrics(
        Samples(pairs.images, pairs.labels),
        classify(judge, extract(judge, pairs.images)),
        train=one["train"],
        val=one["val"],
        test=one["test"],
        classes=("only",),
        real=train_on_real(pairs, Pairs(one["test"].images, one["test"].labels), judge, settings),
        judge=JUDGE,
        settings=settings,
    )
    assert found.metrics is not None
    for name in ("gan_test_accuracy", "gan_test_accuracy_shuffled", "cas_accuracy", "cas_macro_f1", "real_accuracy"):
        assert found.metrics[name] == 1
    assert found.metrics["augmentation"]["20"]["gain"] == found.metrics["cas_gap"] == 0


def test_samples_without_any_class_have_no_utility_and_say_why(bench: Bench) -> None:
    found = bench.score(bench.train.images[:50], np.full(50, -1))
    assert (found.metrics, found.agreement) == (None, None)
    assert found.protocol == "none: the samples were asked for without classes"


def test_a_count_that_the_training_split_does_not_hold_is_skipped_with_a_note(bench: Bench) -> None:
    found = once(bench).score(bench.train.images[:50], bench.train.labels[:50], repeats=1, real_counts=(601, 5000))
    assert found.metrics["augmentation"] == {}
    assert found.protocol["skipped_real_counts"] == ["601", "5000"]


def test_the_same_inputs_give_the_same_numbers_whatever_the_batch_of_prediction(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = bench.train.images[:100], bench.train.labels[:100]
    settings = {"repeats": 2, "real_counts": (50,), "recipe": Recipe(steps=20, batch_size=32, lr=0.006)}
    first = bench.score(*few, **settings)
    again = bench.score(*few, **settings)
    assert (again.metrics, again.protocol) == (first.metrics, first.protocol)
    assert first.metrics["cas_accuracy_low"] < first.metrics["cas_accuracy_high"]
    monkeypatch.setattr(features, "BATCH", 37)
    assert bench.score(*few, **settings).metrics == first.metrics
