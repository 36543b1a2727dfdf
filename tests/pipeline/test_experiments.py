"""Experiments, here and in temporary folders, two at a time: all in one store, and each with its own code."""

import json

import pytest

from tests.pipeline.test_repro import runs
from tests.repository import Repository


@pytest.mark.slow
def test_two_queued_experiments_run_in_parallel_into_one_store(trained: Repository):
    head = trained.run("git", "rev-parse", "HEAD")
    trained.run("dvc", "exp", "run", "--queue", "-n", "first", "-S", "train.lr=1e-3")
    trained.run("dvc", "exp", "run", "--queue", "-n", "second", "-S", "sample.seed=5", "-S", "sample.guidance=2.0")
    # Not in a daemon, so that the test ends when they do.
    trained.run("dvc", "queue", "start", "-j", "2")
    trained.run("dvc", "queue", "logs", "first", "-f")
    trained.run("dvc", "queue", "logs", "second", "-f")

    found = {run.info.run_name: run for run in runs(trained)}
    assert {name: run.info.status for name, run in found.items() if name in ("first", "second")} == {
        "first": "FINISHED",
        "second": "FINISHED",
    }
    assert found["first"].data.params["train.lr"] == "0.001"
    assert found["second"].data.metrics.keys() >= {"fidelity/fd", "train/final_val_loss_ema", "clean/kept"}
    for name in ("first", "second"):
        assert found[name].info.artifact_uri.removeprefix("file://").startswith(str(trained.path / "mlartifacts"))

    shown = json.loads(trained.run("dvc", "exp", "show", "--json", "--no-pager"))
    listed = {entry["name"] for baseline in shown for entry in baseline["experiments"] or ()}
    assert listed == {"first", "second"}
    assert trained.run("git", "rev-parse", "HEAD") == head


@pytest.mark.slow
@pytest.mark.parametrize("where", [(), ("--temp",)], ids=["here", "temp"])
def test_an_experiment_here_and_in_a_temporary_folder_lands_in_the_same_store(trained: Repository, where: tuple[str]):
    trained.run("dvc", "exp", "run", *where, "-n", "tried", "-S", "train.lr=5.0e-5")
    (run,) = runs(trained)
    assert (run.info.run_name, run.info.status) == ("tried", "FINISHED")
    # DVC writes 5e-05, which YAML 1.1 reads as a string.
    assert run.data.params["train.lr"] == "5e-05"
    assert run.info.artifact_uri.removeprefix("file://").startswith(str(trained.path / "mlartifacts"))
