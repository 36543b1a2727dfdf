"""From the finished pipeline to the registry, and from there to a process that knows nothing of the checkout."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from rediffuse import files
from rediffuse.stage import run_stage
from stages.register import register
from tests.repository import Repository

# In a process of its own: all images of the run, asked for in a table.
LOAD = """
import io, sys
import mlflow.pyfunc, numpy as np, pandas as pd
from PIL import Image

model = mlflow.pyfunc.load_model("models:/rediffuse-digits@champion")
labels = np.load(sys.argv[1])
table = pd.DataFrame({"seed": 0, "index": range(len(labels)), "label": [str(label) for label in labels]})
pngs = model.predict(table)["png"]
np.save(sys.argv[2], np.stack([np.array(Image.open(io.BytesIO(png))) for png in pngs]))
import rediffuse
print(rediffuse.__file__)
"""


def test_the_out_holds_what_the_scores_say(finished: Repository):
    judged = files.read_json(finished.workspace.metrics("register"))
    metrics = files.read_json(finished.workspace.metrics("evaluate"))
    scores = metrics["fidelity"]
    met = [scores["fd"] <= 2 * scores["fd_floor"], metrics["memorisation"]["copies"] <= 0.05]
    assert [condition["met"] for condition in judged["conditions"]] == met
    assert judged["eligible"] is all(met)
    assert judged["value"] == scores["fd"]


def test_the_champion_gives_a_clean_process_the_pixels_of_the_pipeline(
    trained: Repository,
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    shutil.copy(empty_database, trained.workspace.tracking_database)
    asked = "fidelity.fd <= 2 * fidelity.fd_floor, memorisation.copies <= 0.05]"
    trained.edit(**{asked: "fidelity.fd > 0]"})
    monkeypatch.chdir(trained.path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    run_stage(register, live=True)
    said = "".join(capfd.readouterr())
    assert said.splitlines() == ["registered as version 1 of rediffuse-digits, its first champion"]
    pixels = tmp_path / "pixels.npy"
    told = trained.run(
        *(sys.executable, "-I", "-c", LOAD, str(trained.workspace.sampled_labels), str(pixels)),
        MLFLOW_TRACKING_URI=f"sqlite:///{trained.path / 'mlflow.db'}",
        OMP_NUM_THREADS="1",
    )
    assert Path(told.splitlines()[-1]).parts[-3:-1] == ("code", "rediffuse")
    assert np.array_equal(np.load(pixels), np.load(trained.workspace.sampled_images)[:, 0])
