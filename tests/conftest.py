"""What all tests share."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.repository import Repository, new_repository


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's tests go to one process, as its fixtures do; so do all that look at the one finished pipeline run."""
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        group = "finished" if "finished" in getattr(item, "fixturenames", ()) else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True, scope="session")
def _threads() -> None:
    """The networks here are so small that a second thread costs more than it gives, most of all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_repository() -> Callable[[Path], Repository]:
    """A function that makes a new repository in an empty folder."""
    return new_repository


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository after `dvc repro`; tests look at it and leave it as it is."""
    repository = new_repository(tmp_path_factory.mktemp("finished"))
    repository.run("dvc", "repro")
    repository.commit()
    return repository


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and no experiment: to copy it takes milliseconds, to make it seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def trained(finished: Repository, tmp_path: Path) -> Repository:
    """A copy of the finished repository that a test may change, with an MLflow store of its own."""
    path = tmp_path / "copy"
    # Two thousand files: Python's own copy takes twice the time.
    subprocess.run(["cp", "-a", finished.path, path], check=True)
    for database in path.glob("mlflow.db*"):
        database.unlink()
    shutil.rmtree(path / "mlartifacts", ignore_errors=True)
    return Repository(path)
