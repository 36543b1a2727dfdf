"""Cases 1 and 2: a training killed with -9 at random moments, and inside the writes of checkpoints."""

import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import pytest

from rediffuse.params import Params, load_params
from rediffuse.workspace import Workspace
from stages.train import train
from tests.data.planted import contents
from tests.repository import Repository

KILLS = 50
IN_A_WRITE = 10
CHILDREN = 400
"""At most, whatever the machine's speed makes of the moments."""


def in_a_child(params: Params, workspace: Workspace) -> int:
    """Start the stage in a fork of this process, which has imported all it needs; the child's pid."""
    child = os.fork()
    if child:
        return child
    try:
        train(params, workspace)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def outs(workspace: Workspace) -> dict[str, bytes]:
    tables = {path.name: path.read_bytes() for path in (workspace.plot("training"), workspace.plot("validation"))}
    return contents(workspace.root / "models") | tables | {"train.json": workspace.metrics("train").read_bytes()}


def remove_outs(workspace: Workspace) -> None:
    """So that what is there afterwards was written by the training after this."""
    shutil.rmtree(workspace.snapshots)
    for path in (
        workspace.denoiser,
        workspace.raw,
        workspace.plot("training"),
        workspace.plot("validation"),
        workspace.metrics("train"),
    ):
        path.unlink()


def writing(workspace: Workspace, child: int) -> bool:
    """Whether this child's checkpoint is on its way to the disk: the file that it is written to bears its pid."""
    return any((workspace.state / "train").glob(f"*/.{child}.*"))


def killed(child: int, moment: float, workspace: Workspace | None) -> bool:
    """Kill after so many seconds, or in the first write of a checkpoint after them; False where it had ended."""
    after = time.monotonic() + moment
    while time.monotonic() < after or (workspace and not writing(workspace, child)):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            return False
        # A write takes a millisecond or two.
        time.sleep(0.0001)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert status == 0
    return False


@pytest.mark.slow
def test_fifty_kills_at_random_moments_ten_of_them_in_a_write_change_no_byte(trained: Repository, tmp_path: Path):
    workspace = trained.workspace
    params = load_params(workspace.params)
    quiet = {"tracking": False, "progress": False, "preview_every": 0, "checkpoint_every": 2}
    params = params.model_copy(update={"runtime": params.runtime.model_copy(update=quiet)})
    whole = outs(workspace)
    draw = random.Random(0)
    remove_outs(workspace)
    began = time.monotonic()
    assert os.waitpid(in_a_child(params, workspace), 0)[1] == 0
    duration = time.monotonic() - began
    assert outs(workspace) == whole

    remove_outs(workspace)
    kills = in_a_write = finished = 0
    while kills < KILLS or in_a_write < IN_A_WRITE:
        assert kills + finished < CHILDREN
        aimed = kills % 2 == 0
        child = in_a_child(params, workspace)
        if killed(child, draw.uniform(0, duration / 2), workspace if aimed else None):
            kills += 1
            # What the write had begun lies there still: it was in the middle.
            in_a_write += writing(workspace, child)
        else:
            finished += 1
            assert outs(workspace) == whole
            assert not any((workspace.state / "train").glob("*/step-*"))
            remove_outs(workspace)
    assert os.waitpid(in_a_child(params, workspace), 0)[1] == 0
    assert outs(workspace) == whole
    print(f"{kills} kills, {in_a_write} of them in a write; {finished} trainings ended between")  # noqa: T201
