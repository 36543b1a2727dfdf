"""The whole section: a block for each extractor, and controls that lie where they must."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rediffuse.evaluation.fidelity.classes import Labelled
from rediffuse.evaluation.fidelity.controls import score_controls
from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.section import FeatureSets, fidelity_metrics
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.standard import FoldScores, Standard

SETTINGS = FidelitySettings(
    neighbours=3, coverage_neighbours=5, manifold_points=10_000, kid_subsets=10, kid_subset_size=50, seed=0
)


def points(count: int, seed: int, mean: float = 0.0, dimension: int = 8) -> np.ndarray:
    return (mean + np.random.default_rng(seed).standard_normal((count, dimension))).astype(np.float32)


FIRST = FeatureSets(
    "classifier",
    "d1ge57",
    train=points(800, 0),
    test=points(100, 1),
    generated=points(250, 2),
    controls={"shifted": points(100, 3, mean=1.0), "few": points(60, 4), "sorted": np.sort(points(200, 5), axis=0)},
)
OTHER = replace(FIRST, extractor="pca", digest="07h3r", generated=points(250, 6, mean=0.5))


def test_each_extractor_has_its_scores_and_its_protocol() -> None:
    section = fidelity_metrics([FIRST, OTHER], None, SETTINGS)
    own = score_fidelity(FIRST.train, FIRST.test, FIRST.generated, SETTINGS)
    assert section.metrics["fidelity"] == own.scores
    assert section.metrics["by_extractor"].keys() == {"pca"}
    assert section.metrics["by_extractor"]["pca"].keys() == own.scores.keys()
    assert section.metrics["by_extractor"]["pca"]["fd"] > 2 * own.scores["fd"]
    assert section.images == 100
    first, other = section.protocol["fidelity"], section.protocol["pca"]
    assert (first["extractor"], first["digest"]) == ("classifier", "d1ge57")
    assert (other["extractor"], other["digest"]) == ("pca", "07h3r")
    assert (first["images"], first["folds"], first["seed"]) == (100, 2, 0)
    assert (first["reference"], first["floor"]) == ("train (800 images)", "test (100 images)")
    assert (first["neighbours"], first["coverage_neighbours"]) == (3, 5)
    assert first["mmd_bandwidth"] == pytest.approx(4.0, rel=0.05)


def test_controls_lie_where_they_must() -> None:
    section = fidelity_metrics([FIRST], None, SETTINGS)
    controls, floor = section.metrics["controls"], section.metrics["fidelity"]
    assert {name: scores["images"] for name, scores in controls.items()} == {
        "half_of_train": 100,
        "shifted": 100,
        "few": 60,
        "sorted": 100,
    }
    for scores in controls.values():
        assert list(scores) == ["images", "fd", "kid", "mmd", "precision", "recall", "f1", "density", "coverage"]
    assert section.protocol["controls"] == {
        "extractor": "classifier",
        "digest": "d1ge57",
        "images": 100,
        "reference": "train (800 images)",
        "reference_of_half_of_train": "the other half of train (400 images)",
        "seed": 0,
    }
    assert controls["shifted"]["fd"] > 5 * floor["fd_floor"]
    assert controls["shifted"]["f1"] < floor["f1_floor"] - 0.1
    # Equally good images score as the floor does: as far as it is from zero, not from its value.
    assert floor["fd_floor"] / 2 < controls["half_of_train"]["fd"] < 2 * floor["fd_floor"]
    assert floor["coverage_floor_low"] - 0.1 < controls["half_of_train"]["coverage"]
    # Cut in order, the first half of sorted rows would lie on one side.
    assert controls["sorted"]["precision"] > 0


def test_a_control_is_scored_at_the_size_of_the_scores_beside_it_as_far_as_it_reaches() -> None:
    few = FIRST.controls["few"]
    alone = score_fidelity(FIRST.train, few, few, SETTINGS).scores
    found = fidelity_metrics([FIRST], None, SETTINGS).metrics["controls"]["few"]
    for name in ("fd", "mmd", "precision", "recall", "density", "coverage"):
        assert found[name] == pytest.approx(alone[name], rel=1e-9)


def test_the_order_of_the_real_rows_changes_nothing_also_where_draws_are_made() -> None:
    settings = replace(SETTINGS, manifold_points=60)
    train, test, asked = np.arange(800) % 2, np.arange(100) % 2, np.arange(250) % 2
    labels = Labelled(("cat", "dog"), train, test, asked, seen=asked, seen_test=test)
    draw = np.random.default_rng(9)
    one, other = draw.permutation(800), draw.permutation(100)
    turned = replace(
        FIRST,
        train=FIRST.train[one],
        test=FIRST.test[other],
        controls={name: rows[draw.permutation(len(rows))] for name, rows in FIRST.controls.items()},
    )
    known = replace(labels, train=train[one], test=test[other], seen_test=test[other])
    first, second = (
        dict(numbers(fidelity_metrics([sets], shown, settings).metrics))
        for sets, shown in ((FIRST, labels), (turned, known))
    )
    assert len(first) > 100
    # Rounding alone is left, in sums of values that are about 1.
    assert second == pytest.approx(first, rel=1e-9, abs=1e-9)


def numbers(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in scores.items():
        yield from numbers(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]


def test_of_a_half_of_train_no_more_folds_than_four_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, fold = [], Standard.fold

    def counted(standard: Standard, features: np.ndarray, index: int, *, errors: bool) -> FoldScores:
        sizes.append(len(features))
        return fold(standard, features, index, errors=errors)

    standard = Standard(FIRST.train, SETTINGS)
    monkeypatch.setattr(Standard, "fold", counted)
    score_controls(standard, {}, 20, SETTINGS)
    assert sizes == [20] * 4


def test_a_control_with_too_few_images_to_score_is_left_out() -> None:
    controls = {"missing_class": points(3, 3), "enough": points(4, 4)}
    found = fidelity_metrics([replace(FIRST, controls=controls)], None, SETTINGS).metrics["controls"]
    assert list(found) == ["half_of_train", "enough"]
    assert found["enough"]["images"] == 4


def test_halves_of_the_training_images_too_small_to_score_are_left_out() -> None:
    small = replace(FIRST, train=points(11, 0), test=points(6, 1), generated=points(6, 2), controls={})
    assert fidelity_metrics([small], None, SETTINGS).metrics["controls"] == {}
    enough = replace(small, train=points(12, 0))
    assert list(fidelity_metrics([enough], None, SETTINGS).metrics["controls"]) == ["half_of_train"]
