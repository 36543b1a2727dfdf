"""The scores of a sweep's points: as the protocol gives them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.sweep import (
    EVALUATIONS_COLUMNS,
    GUIDANCE_COLUMNS,
    PointJudge,
    evaluations_table,
    guidance_table,
    sweep_metrics,
)
from rediffuse.evaluation.utility.pairs import Pairs


class Plain:
    """An extractor whose features are the pixels."""

    def extract(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / 64


def test_a_point_scores_as_the_protocol_does():
    draw = np.random.default_rng(0)
    train, test, generated = (draw.integers(low, 256, (n, 1, 2, 3)) for n, low in ((400, 0), (70, 0), (150, 60)))
    settings = FidelitySettings(
        seed=0, neighbours=3, coverage_neighbours=5, manifold_points=200, kid_subsets=2, kid_subset_size=10
    )
    extract = Plain().extract
    whole = score_fidelity(extract(train), extract(test), extract(generated), settings).scores
    judge = PointJudge(
        reference=SimpleNamespace(main=Plain()),
        standard=Standard(extract(train), settings),
        size=70,
        validation=None,
        usefulness=SimpleNamespace(shape=SimpleNamespace(classes=0)),
    )
    found = judge.score(generated, np.zeros(150, np.int64), utility=True)
    assert found == {f"{name}{end}": whole[f"{name}{end}"] for name in ("fd", "precision", "recall") for end in ENDS}


@pytest.mark.parametrize("unlabelled", [0, 20])
def test_accuracies_are_of_labelled_images_with_the_interval_of_wilson(
    monkeypatch: pytest.MonkeyPatch, unlabelled: int
):
    """A classifier that reads the class off the first pixel; a training that remembers what it was shown."""
    shown = []
    monkeypatch.setattr("rediffuse.evaluation.sweep.extract", lambda _, images: images[:, 0, 0, 0])
    monkeypatch.setattr("rediffuse.evaluation.sweep.classify", lambda _, pixels: pixels % 3)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 3, (50, 1, 2, 3))
    labels = images[:, 0, 0, 0] % 3
    labels[:10] = (labels[:10] + 1) % 3
    asked, validated = np.where(np.arange(50) < 50 - unlabelled, labels, -1), np.where(np.arange(50) < 30, labels, -1)
    settings = FidelitySettings(
        seed=0, neighbours=3, coverage_neighbours=5, manifold_points=200, kid_subsets=2, kid_subset_size=10
    )
    judge = PointJudge(
        reference=SimpleNamespace(main=Plain(), classifier=None),
        standard=Standard(Plain().extract(draw.integers(0, 256, (60, 1, 2, 3))), settings),
        size=50,
        validation=Pairs.labelled(images, validated),
        usefulness=SimpleNamespace(shape=SimpleNamespace(classes=3), trained=lambda pairs, *_: shown.append(pairs)),
    )
    found = judge.score(images, asked, utility=True)
    assert len(shown[0]) == 50 - unlabelled
    assert found["gan_test_accuracy"] == (40 - unlabelled) / (50 - unlabelled)
    expected = Estimate.of_share(np.arange(30) >= 10).named("cas_val_accuracy")
    assert {name: found[name] for name in expected} == expected
    assert judge.score(images, asked, utility=False).keys() == judge.score(images, asked * 0 - 1, utility=True).keys()


ENDS = ("", "_low", "_high")
SCORES = {"evaluations": 9.0} | {
    f"{name}{end}": value + shift
    for name, value, reach in (("fd", 1.5, 0.5), ("precision", 0.9, 0.05), ("recall", 0.8, 0.1))
    for end, shift in zip(ENDS, (0, -reach, reach), strict=True)
}


def test_tables_have_all_columns_whatever_was_scored():
    table = guidance_table([(1.5, SCORES)])
    assert tuple(table) == GUIDANCE_COLUMNS
    assert table["cas_val_accuracy_low"].isna().all()
    assert table["recall_low"].tolist() == [0.8 - 0.1]
    assert table["guidance"].tolist() == [1.5]
    assert tuple(guidance_table([])) == GUIDANCE_COLUMNS
    table = evaluations_table([("heun", 5, SCORES)])
    expected = pd.DataFrame([("heun", 5, 9.0, 1.5, 1.0, 2.0)], columns=EVALUATIONS_COLUMNS)
    pd.testing.assert_frame_equal(table, expected)
    assert (tuple(evaluations_table([])), len(evaluations_table([]))) == (EVALUATIONS_COLUMNS, 0)


def test_metrics_name_scales_and_evaluations_and_what_is_best():
    better = SCORES | {"evaluations": 17.0, "fd": 0.5, "fd_low": 0.2, "fd_high": 0.9}
    useful = better | {"cas_val_accuracy": 0.7}
    found = sweep_metrics([(1.0, useful), (1.5, SCORES)], [("heun", 5, SCORES), ("heun", 9, useful)], {"images": 60})
    assert list(found["guidance"]) == ["1", "1.5"]
    assert found["guidance"]["1.5"]["recall"] == 0.8
    shown = {steps: {"steps": at, **scores} for steps, at, scores in (("9", 5, SCORES), ("17", 9, better))}
    for scores in shown.values():
        del scores["evaluations"]
    assert found["evaluations"] == {"heun": shown}
    assert (found["best_guidance"], found["best_sampler"], found["best_evaluations"]) == (1.0, "heun", 17.0)
    assert (found["best_guidance_alike"], found["best_evaluations_alike"]) == ([], {})
    assert sweep_metrics([], [], {}) == {"guidance": {}, "evaluations": {}, "protocol": {}}


def test_what_the_intervals_do_not_part_from_the_best_is_named_beside_it():
    def of(fd: float, evaluations: float = 1.0) -> dict[str, float]:
        return SCORES | {"fd": fd, "fd_low": fd - 0.2, "fd_high": fd + 0.2, "evaluations": evaluations}

    guidance = [(1.0, of(1.3)), (1.5, of(1.0)), (2.0, of(1.6)), (3.0, of(1.1))]
    steps = [("ddim", 40, of(0.9, 40.0)), ("heun", 9, of(0.8, 17.0)), ("heun", 18, of(1.0, 35.0)), ("heun", 3, of(9.0))]
    found = sweep_metrics(guidance, steps, {})
    assert (found["best_guidance"], found["best_guidance_alike"]) == (1.5, [1.0, 3.0])
    assert found["best_evaluations_alike"] == {"ddim": [40.0], "heun": [35.0]}
