"""Case 9 through the real stages: training, sampling and the sweep by two processes write the bytes that one writes,

whether the stage starts the second or torchrun starts both."""

import pytest

from rediffuse import files
from tests.data.planted import contents
from tests.pipeline.test_repro import runs
from tests.repository import Repository


@pytest.mark.slow
def test_two_processes_write_the_outs_of_one(trained: Repository):
    names = [
        "models/denoiser.safetensors",
        "models/raw.safetensors",
        *(f"models/snapshots/{name}" for name in contents(trained.workspace.snapshots)),
        "plots/training.csv",
        "plots/validation.csv",
        "metrics/train.json",
        "samples/images.npy",
        "samples/labels.npy",
        "samples/grid.png",
        "samples/grid_raw.png",
        "samples/film.png",
        "metrics/sample.json",
        "plots/sweep_guidance.csv",
        "plots/sweep_evaluations.csv",
        "metrics/sweep.json",
    ]
    # Six microbatches, whose tree is ((4) + (2)): for two processes it is no sum of their own sums.
    trained.edit(**{"  batch_size: 32             # images a step": "  batch_size: 48             # images a step"})
    trained.edit(**{"  microbatch: 16 ": "  microbatch: 8 "})

    def made(*launcher: str) -> dict[str, str]:
        for name in names:
            (trained.path / name).unlink()
        for stage in ("train", "sample", "sweep"):
            trained.run("python", "-m", *launcher, f"stages.{stage}")
        return {name: files.sha256(trained.path / name) for name in names}

    one = made()
    trained.edit(**{"  processes: 1 ": "  processes: 2 "})
    assert made() == one
    # The number in params.yaml is for those who start no processes themselves.
    trained.edit(**{"  processes: 2 ": "  processes: 1 "})
    assert made("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m") == one
    # One run, told of by one process each time.
    assert len(runs(trained)) == 1
