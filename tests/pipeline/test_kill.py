"""A training killed with -9 and started again writes the bytes of one that was left alone."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rediffuse import files
from tests.pipeline.conftest import Repository
from tests.pipeline.test_repro import client, runs


def checkpoints(repository: Repository) -> list[Path]:
    return list((repository.workspace.state / "train").glob("*/step-*.safetensors"))


def kill_after_checkpoint(repository: Repository, seconds: float = 120) -> None:
    """Start training and kill it, without a chance to clean up, once it has written a checkpoint."""
    process = subprocess.Popen(
        ["python", "-m", "stages.train"],
        cwd=repository.path,
        env=repository.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + seconds
    while not checkpoints(repository):
        assert process.poll() is None, "training ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("tracking", ["true", "false"])
def test_a_killed_training_goes_on_to_the_same_model_in_the_same_run(trained: Repository, tracking: str):
    whole = {name: files.sha256(trained.path / name) for name in ("models/denoiser.safetensors", "plots/training.csv")}
    trained.edit(**{"  tracking: true": f"  tracking: {tracking}"})
    for name in whole:
        (trained.path / name).unlink()
    before = {run.info.run_id for run in runs(trained)}

    kill_after_checkpoint(trained)
    assert checkpoints(trained)
    assert not trained.workspace.denoiser.exists()
    trained.run("python", "-m", "stages.train")

    assert {name: files.sha256(trained.path / name) for name in whole} == whole
    assert checkpoints(trained) == []
    new = [run for run in runs(trained) if run.info.run_id not in before]
    if tracking == "true":
        (run,) = new
        steps = [point.step for point in client(trained).get_metric_history(run.info.run_id, "train/loss")]
        assert steps == [10, 20, 30, 40]
    else:
        assert new == []
