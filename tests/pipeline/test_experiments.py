"""Experiments, here and in temporary folders, two at a time: all in one store, and each with its own code."""

import json

from tests.pipeline.conftest import Repository
from tests.pipeline.test_repro import runs


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
