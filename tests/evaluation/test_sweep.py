"""The scores of a sweep's points: as the protocol gives them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.standard import Standard
from rediffuse.evaluation.sweep import (
    EVALUATIONS_COLUMNS,
    GUIDANCE_COLUMNS,
    PointJudge,
    evaluations_table,
    guidance_table,
    sweep_metrics,
)


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
        reference=SimpleNamespace(main=Plain(), classifier=SimpleNamespace(shape=SimpleNamespace(classes=0))),
        standard=Standard(extract(train), settings),
        size=70,
        test=None,
        recipe=None,
        seed=0,
        device=None,
    )
    found = judge.score(generated, np.zeros(150, np.int64), utility=True)
    assert found == {name: whole[name] for name in ("fd", "fd_low", "fd_high", "precision", "recall")}


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
