"""Case 9 through the real stages: training and sampling by two processes write the bytes that one writes."""

import pytest

from rediffuse import files
from tests.data.planted import contents
from tests.pipeline.test_repro import runs
from tests.repository import Repository


@pytest.mark.slow
def test_two_processes_write_the_outs_of_one(trained: Repository):
    names = [
        "models/denoiser.safetensors",
        *(f"models/snapshots/{name}" for name in contents(trained.workspace.snapshots)),
        "plots/training.csv",
        "plots/validation.csv",
        "metrics/train.json",
        "samples/images.npy",
        "samples/labels.npy",
        "samples/grid.png",
        "samples/film.png",
        "metrics/sample.json",
    ]
    one = {name: files.sha256(trained.path / name) for name in names}
    trained.edit(**{"  processes: 1 ": "  processes: 2 "})
    for name in names:
        (trained.path / name).unlink()
    trained.run("python", "-m", "stages.train")
    trained.run("python", "-m", "stages.sample")
    assert {name: files.sha256(trained.path / name) for name in names} == one
    # One run, told of by one of the two.
    assert len(runs(trained)) == 1
