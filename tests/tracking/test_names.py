import hashlib

import pytest

from rediffuse.tracking.names import safe_name, score_tags, summary_names
from tests.tracking.evaluated import evaluated


def test_what_evaluate_nests_keeps_its_own_name() -> None:
    metrics = {"fidelity": {"fd": 1.5}, "utility": {"classes": {"a/b": {"f1": 1}}}, "n_samples": 8}
    metrics["likelihood"] = {"bits_per_dim": 3.5, "stderr": 0.25, "method": "ode", "n": 20}
    assert summary_names("evaluate", metrics) == {
        "fidelity/fd": 1.5,
        "utility/classes/a_b/f1": 1.0,
        "evaluate/n_samples": 8.0,
        "likelihood/bits_per_dim": 3.5,
        "likelihood/stderr": 0.25,
        "likelihood/n": 20.0,
    }


def test_a_verdict_is_a_number_and_a_word_and_one_that_was_not_asked_for_only_a_word() -> None:
    metrics = evaluated()
    assert {name: value for name, value in summary_names("evaluate", metrics).items() if "verdict" in name} == {
        "verdicts/fidelity": 1.0,
        "verdicts/memorisation": 0.0,
    }
    assert {name: text for name, text in score_tags(metrics).items() if "verdict" in name} == {
        "verdict.fidelity": "met",
        "verdict.memorisation": "not met",
        "verdict.likelihood": "not asked",
    }


def test_how_scores_were_taken_is_told_in_tags_and_never_as_a_score() -> None:
    metrics = evaluated()
    assert not [
        name for name in summary_names("evaluate", metrics) if name.startswith(("protocol", "evaluate/protocol"))
    ]
    tags = score_tags(metrics)
    assert tags["protocol.fidelity.digest"] == "5da787c9"
    assert tags["protocol.fidelity.images"] == "180"
    assert tags["protocol.likelihood.how"] == "probability-flow ODE"


@pytest.mark.parametrize("changes", [{"fd": 0.25}, {"likelihood": "bound"}])
def test_names_hold_neither_the_family_nor_the_data(changes: dict[str, float | str]) -> None:
    assert summary_names("evaluate", evaluated(**changes)).keys() == summary_names("evaluate", evaluated()).keys()
    # Of classes all else is the same.
    names = {
        classes: {name for name in summary_names("evaluate", evaluated(classes=classes)) if "class/" not in name}
        for classes in (("0", "1"), ("T-shirt/top", "bag", "coat"))
    }
    assert len({frozenset(each) for each in names.values()}) == 1
    assert "fidelity/by_class/T-shirt_top/fd" in summary_names("evaluate", evaluated(classes=("T-shirt/top",)))


def test_classes_that_would_be_named_alike_or_too_long_keep_a_number_each() -> None:
    long = "x" * 300
    metrics = evaluated(classes=("+", "=", "_", f"{long}1", f"{long}2", "plain"))
    names = summary_names("evaluate", metrics)
    fds = [name for name in names if name.startswith("fidelity/by_class/") and name.endswith("/fd")]
    lows = [name for name in names if name.startswith("fidelity/by_class/") and name.endswith("/fd_low")]
    assert len(fds) == len(lows) == 6
    assert fds[0] == f"fidelity/by_class/_-{hashlib.sha256(b'+').hexdigest()[:8]}/fd"
    assert "fidelity/by_class/plain/fd" in fds
    assert max(map(len, names)) <= 250
    metrics["protocol"] |= {"+": {"images": 1}, "=": {"images": 2}}
    assert {"1", "2"} <= {text for name, text in score_tags(metrics).items() if name.endswith(".images")}


def test_a_sweep_is_named_by_its_points() -> None:
    metrics = {
        "guidance": {"1.5": {"fd": 2.0}},
        "evaluations": {"heun": {"9": {"fd": 1.5}}},
        "best": {"sampler": "heun"},
    }
    assert summary_names("sweep", metrics) == {"sweep/guidance/1.5/fd": 2.0, "sweep/evaluations/heun/9/fd": 1.5}
    metrics["protocol"] = {"images": 180, "grids": {"heun": "karras"}}
    assert score_tags(metrics, "sweep") == {"protocol.sweep.images": "180", "protocol.sweep.grids.heun": "karras"}


def test_a_summary_of_training_is_not_named_like_a_curve() -> None:
    assert summary_names("train", {"val_loss": 0.5}) == {"train/final_val_loss": 0.5}


def test_only_numbers_are_summaries() -> None:
    metrics = {"rows": 3, "clean": True, "name": "digits", "shares": [0.5], "none": None, "by": {"reason": 1}}
    assert summary_names("clean", metrics) == {"clean/rows": 3.0, "clean/by/reason": 1.0}


def test_a_safe_name_is_one_that_mlflow_takes() -> None:
    assert safe_name("T-shirt/top (new)") == "T-shirt_top _new_"
    assert safe_name("out.data/a.npy", keep="/") == "out.data/a.npy"
    assert len(safe_name("x" * 300)) == 250
