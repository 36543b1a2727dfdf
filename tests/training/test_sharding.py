"""A training that is sharded (FSDP2), on one process already, where all tensors are torch's distributed ones."""

import weakref
from pathlib import Path

import pytest
from torch import Tensor

from rediffuse import leaving
from rediffuse.errors import LeavingError
from rediffuse.processes import whole as put_together
from rediffuse.training import tensors
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.sharding import Follower, sharded
from rediffuse.training.trainer import TrainingState
from tests.faults.together import RUNTIME, TRAIN, leaving_at, trained
from tests.training.test_training import CPU, model, run_fit

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


def test_a_save_puts_one_tensor_together_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whole, the state may be more than a GPU holds."""
    together: list[weakref.ref[Tensor]] = []
    most = []

    def noted(tensor: Tensor) -> Tensor:
        made = put_together(tensor).clone()
        together.append(weakref.ref(made))
        most.append(sum(each() is not None for each in together))
        return made

    state = TrainingState.new(model(), TRAIN)
    checkpoints, follower = CheckpointFolder(tmp_path), Follower(needed=True)
    with sharded(state, TRAIN, CPU), checkpoints.locked(), checkpoints.writer() as writer:
        monkeypatch.setattr(tensors, "whole", noted)
        for each in (writer, follower):
            each.take_snapshot(state, {})
            each.save(state, {})
    assert len(most) > 200
    assert max(most) == 1
