"""A training that is sharded (FSDP2), on one process already, where all tensors are torch's distributed ones."""

from pathlib import Path

import pytest

from rediffuse import leaving
from rediffuse.errors import LeavingError
from tests.faults.together import RUNTIME, TRAIN, leaving_at, trained
from tests.training.test_training import run_fit

SHARD = {"shard": True, "grad_clip": 0.05, "steps": 3, "snapshots": 1, "validate_every": 2, "microbatch": 8}
LOOKS = 9
"""How often it asks whether to leave: twice a step, and twice a validation more."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**trained(tmp_path_factory.mktemp("whole"), **SHARD), "previews": ""}


@pytest.mark.parametrize(
    "look", [pytest.param(each, marks=[] if each == 5 else pytest.mark.slow) for each in range(1, LOOKS + 1)]
)
def test_asked_to_leave_at_any_moment_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str], look: int
):
    """Also in the middle of a validation, which is then the first thing that the next process does."""
    with monkeypatch.context() as patch:
        patch.setattr(leaving, "deferred", leaving_at(look))
        with pytest.raises(LeavingError):
            run_fit(tmp_path, params=TRAIN.model_copy(update=SHARD), runtime=RUNTIME)
    assert {**trained(tmp_path, **SHARD), "previews": ""} == whole
