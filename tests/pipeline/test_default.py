"""The default parameters, on the default data, reach the quality that the README shows, and repeat it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rediffuse import files
from tests.repository import CHECKOUT, Repository

pytestmark = pytest.mark.slow


def test_the_default_run_reaches_its_scores_and_a_forced_repetition_changes_no_byte(tmp_path: Path):
    subprocess.run(["git", "clone", "-q", CHECKOUT, tmp_path / "clone"], check=True)
    repository = Repository(tmp_path / "clone")
    (repository.path / "dvc.lock").unlink()
    repository.run("dvc", "repro")
    scores = files.read_json(repository.workspace.metrics("evaluate"))
    assert scores["fidelity"]["fd"] <= scores["fidelity"]["fd_floor"]
    assert scores["utility"]["cas_accuracy"] >= 0.93
    assert scores["utility"]["gan_test_accuracy"] >= 0.97

    repository.commit()
    shutil.rmtree(repository.path / ".dvc" / "cache")
    repository.run("dvc", "repro", "-f")
    repository.run("git", "diff", "--exit-code", "dvc.lock")
