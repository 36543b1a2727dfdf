"""A training killed with -9 and started again writes the bytes of one that was left alone."""

import shutil
import signal
from pathlib import Path

import pytest

from rediffuse import files
from tests.data.planted import contents
from tests.pipeline.test_repro import client, runs
from tests.repository import Repository

# The stage as DVC starts it, in a process that the kernel kills once a checkpoint is written.
TRAIN_UNTIL_KILLED = """
import os, signal, stages
from rediffuse.training.checkpoint_writer import CheckpointWriter
from rediffuse.stage import run_stage
from stages.train import train

save = CheckpointWriter.save
def save_and_die(self, state, record):
    save(self, state, record)
    if state.step == {step}:
        self.finish()
        os.kill(os.getpid(), signal.SIGKILL)

CheckpointWriter.save = save_and_die
run_stage(train, live=True)
"""


def checkpoints(repository: Repository) -> list[Path]:
    return list((repository.workspace.state / "train").glob("*/step-*.safetensors"))


@pytest.mark.parametrize(("tracking", "step"), [("true", 20), pytest.param("false", 10, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_same_model_in_the_same_run(
    trained: Repository, empty_database: Path, tracking: str, step: int
):
    snapshots = [f"models/snapshots/{name}" for name in contents(trained.workspace.snapshots)]
    names = ("models/denoiser.safetensors", "models/raw.safetensors", "plots/training.csv", *snapshots)
    whole = {name: files.sha256(trained.path / name) for name in names}
    assert len(whole) == 3 + 4 + 1
    trained.edit(**{"  tracking: true": f"  tracking: {tracking}"})
    if tracking == "true":
        shutil.copy(empty_database, trained.workspace.tracking_database)
    for name in whole:
        (trained.path / name).unlink()

    trained.run("python", "-c", TRAIN_UNTIL_KILLED.format(step=step), code=-signal.SIGKILL)
    assert sorted(path.name[:13] for path in checkpoints(trained)) == [
        f"step-{at:08d}" for at in (10, 20) if at <= step
    ]
    assert not trained.workspace.denoiser.exists()
    trained.run("python", "-m", "stages.train")

    assert {name: files.sha256(trained.path / name) for name in whole} == whole
    assert checkpoints(trained) == []
    if tracking == "true":
        (run,) = runs(trained)
        steps = [point.step for point in client(trained).get_metric_history(run.info.run_id, "train/loss")]
        assert steps == [10, 20, 30, 40]
    else:
        assert not (trained.path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_training_with_another_parameter_uses_nothing_of_a_killed_ones_state(trained: Repository):
    trained.edit(**{"  tracking: true": "  tracking: false"})
    trained.run("python", "-c", TRAIN_UNTIL_KILLED.format(step=20), code=-signal.SIGKILL)
    trained.edit(**{"  lr: 2.0e-3 ": "  lr: 1.0e-3 "})
    trained.run("python", "-c", TRAIN_UNTIL_KILLED.format(step=10), code=-signal.SIGKILL)
    # It began at its own first step, in a folder of its own.
    kept = ["step-00000010", "step-00000010", "step-00000020"]
    assert sorted(path.name[:13] for path in checkpoints(trained)) == kept
    assert len({path.parent for path in checkpoints(trained)}) == 2
