"""The scores of a sweep's points: as the protocol gives them, with intervals that hold."""

import numpy as np
import pandas as pd
import pytest

from rediffuse.evaluation.fidelity.measures import Manifold
from rediffuse.evaluation.fidelity.protocol import FidelitySettings, score_fidelity
from rediffuse.evaluation.sweep import (
    EVALUATIONS_COLUMNS,
    GUIDANCE_COLUMNS,
    FidelityScale,
    evaluations_table,
    guidance_table,
    sweep_metrics,
)
from rediffuse.frechet import Gaussian, frechet_distance


def normal(seed: int, count: int, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def scale(train: np.ndarray, images: int) -> FidelityScale:
    return FidelityScale.of(train, images, seed=0, neighbours=3, manifold_points=200)


def test_a_score_is_the_mean_over_whole_folds_against_all_training_images():
    train, generated = normal(0, 400), normal(1, 130) + 0.5
    found = scale(train, 60).score(generated)
    folds = (generated[:60], generated[60:120])
    expected = np.mean([frechet_distance(Gaussian.of(train), Gaussian.of(fold)) for fold in folds])
    assert found["fd"] == pytest.approx(expected, rel=1e-12)
    recalls = [Manifold.of(fold, 3).contains(scale(train, 60).manifold.points).mean() for fold in folds]
    assert found["recall"] == pytest.approx(np.mean(recalls), rel=1e-12)
    assert found["fd_low"] < found["fd"] < found["fd_high"]


def test_a_point_scores_as_the_protocol_does():
    train, test, generated = normal(0, 400), normal(1, 70), normal(2, 150) + 0.3
    settings = FidelitySettings(seed=0, neighbours=3, manifold_points=200, kid_subsets=2, kid_subset_size=10)
    whole, found = score_fidelity(train, test, generated, settings).scores, scale(train, 70).score(generated)
    for name in ("fd", "precision", "recall"):
        assert found[name] == pytest.approx(whole[name], rel=1e-12)


def test_the_interval_of_the_distance_covers_what_many_sets_give_in_the_mean():
    train = normal(0, 2000)
    ours, sets = scale(train, 90), [normal(seed, 180) * 1.2 + 0.3 for seed in range(1, 301)]
    folds = [[each[:90], each[90:]] for each in sets]
    value = np.mean([frechet_distance(ours.gaussian, Gaussian.of(fold)) for pair in folds for fold in pair])
    found = [ours.score(each) for each in sets[:60]]
    covered = np.mean([each["fd_low"] <= value <= each["fd_high"] for each in found])
    assert covered >= 0.9
    # And no wider than that takes.
    assert np.mean([each["fd_high"] - each["fd_low"] for each in found]) < 6 * np.std([each["fd"] for each in found])


def test_two_images_have_a_distance_but_no_interval():
    found = FidelityScale.of(normal(0, 50), 2, seed=0, neighbours=1, manifold_points=50).score(normal(1, 2))
    assert found.keys() == {"fd", "precision", "recall"}


SCORES = {"evaluations": 9.0, "fd": 1.5, "fd_low": 1.0, "fd_high": 2.0, "precision": 0.9, "recall": 0.8}


def test_tables_have_all_columns_whatever_was_scored():
    table = guidance_table([(1.5, SCORES)])
    assert tuple(table) == GUIDANCE_COLUMNS
    assert table["cas_accuracy"].isna().all()
    assert table["guidance"].tolist() == [1.5]
    assert tuple(guidance_table([])) == GUIDANCE_COLUMNS
    table = evaluations_table([("heun", 5, SCORES)])
    expected = pd.DataFrame([("heun", 5, 9.0, 1.5, 1.0, 2.0)], columns=EVALUATIONS_COLUMNS)
    pd.testing.assert_frame_equal(table, expected)
    assert (tuple(evaluations_table([])), len(evaluations_table([]))) == (EVALUATIONS_COLUMNS, 0)


def test_metrics_name_scales_and_evaluations_and_what_is_best():
    better = SCORES | {"evaluations": 17.0, "fd": 0.5}
    found = sweep_metrics([(1.0, better), (1.5, SCORES)], [("heun", 5, SCORES), ("heun", 9, better)], {"images": 60})
    assert list(found["guidance"]) == ["1", "1.5"]
    assert found["guidance"]["1.5"]["recall"] == 0.8
    assert found["evaluations"] == {
        "heun": {
            "9": {"steps": 5, "fd": 1.5, "fd_low": 1.0, "fd_high": 2.0},
            "17": {"steps": 9, "fd": 0.5, "fd_low": 1.0, "fd_high": 2.0},
        }
    }
    assert (found["best_guidance"], found["best_sampler"], found["best_evaluations"]) == (1.0, "heun", 17.0)
    assert sweep_metrics([], [], {}) == {"guidance": {}, "evaluations": {}, "protocol": {}}
