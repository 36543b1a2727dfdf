"""The digits taken through the stages before evaluation, once for all tests of the stages after it."""

import shutil
from pathlib import Path

import pytest

from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.reference import reference
from stages.split import split
from tests.data.planted import params_with


@pytest.fixture(scope="session")
def params() -> Params:
    """The digits, cut as by default, and a classifier that takes a second to train."""
    return params_with(
        prepare__source="digits",
        split__val_share=0.1,
        split__test_share=0.1,
        reference__width=16,
        reference__features=16,
        reference__steps=75,
        reference__batch_size=64,
        reference__lr=0.008,
        reference__repeats=2,
        reference__real_counts=[100],
        evaluate__neighbours=3,
        evaluate__noise_levels=3,
        evaluate__kid_subsets=5,
        evaluate__likelihood={"method": "ode", "solver": "heun", "steps": 2, "tolerance": 0.1, "images": 20},
        evaluate__memorisation={"membership_images": 20, "membership_levels": 2},
        sweep__count=30,
        sweep__guidance=(1.0, 2.0),
        sweep__steps__ddim=(2, 4),
        sweep__steps__dpmpp_2m=(),
        sweep__steps__heun=(3,),
        runtime__device="cpu",
        runtime__threads=1,
    )


@pytest.fixture(scope="session")
def _referenced(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Path:
    made = Workspace.at(tmp_path_factory.mktemp("digits"))
    for stage in (prepare, clean, split, reference):
        stage(params, made)
    return made.root


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, _referenced: Path) -> Workspace:
    """A module's own copy, up to and with the stage `reference`."""
    return Workspace.at(shutil.copytree(_referenced, tmp_path_factory.mktemp("module") / "digits"))


@pytest.fixture
def own_workspace(tmp_path: Path, _referenced: Path) -> Workspace:
    """A test's own copy, to change."""
    return Workspace.at(shutil.copytree(_referenced, tmp_path / "digits"))
