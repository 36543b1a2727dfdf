"""Cases 9 and 51: any number of processes computes the same bytes, and what ends one of them ends all of them well."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rediffuse import files
from rediffuse.params.sections import GuardParams
from rediffuse.processes import Processes, whole
from rediffuse.training.sharding import sharded
from rediffuse.training.trainer import TrainingState
from tests.faults.together import RUNTIME, START, TRAIN, compute, trained
from tests.faults.waiting import lives, until
from tests.training.test_training import CPU, KilledError, Killer, model, run_fit

CHECKOUT = Path(__file__).parents[2]
SEVERAL = {"whole": {}, "samples": {}, "sums": {}}


def start(folder: Path, processes: int, *launcher: str, **told: object) -> subprocess.Popen[str]:
    """Start `together.main` on so many processes, or by a launcher that starts them itself."""
    folder.mkdir(exist_ok=True)
    (folder / "start_together.py").write_text(START)
    asked = {"processes": processes, "folder": str(folder), "tasks": {}, **told}
    path = os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT), str(folder)])
    return subprocess.Popen(
        [*(launcher or [sys.executable]), "-m", "start_together"],
        cwd=CHECKOUT,
        env=os.environ | {"TOGETHER": json.dumps(asked), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int) -> str:
    """What it printed until it ended with that code."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


def digests(folder: Path) -> dict[str, dict[str, str]]:
    return files.read_json(folder / "digests.json")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What one process computes."""
    return compute(Processes(), tmp_path_factory.mktemp("one"), SEVERAL)


def test_two_processes_compute_what_one_does_and_go_on_where_another_number_stopped(
    tmp_path: Path, one: dict[str, dict[str, str]]
):
    with pytest.raises(KilledError):
        run_fit(tmp_path / "one killed", params=TRAIN, runtime=RUNTIME, log=Killer(2))
    tasks = SEVERAL | {"one killed": {}, "fast": {"reduction": "fast"}}
    output = ended(start(tmp_path, 2, tasks=tasks, die="first"), -signal.SIGKILL)
    done = digests(tmp_path)
    assert output == ""
    assert {name: done[name] for name in SEVERAL if name != "sums"} == {n: v for n, v in one.items() if n != "sums"}
    assert set(done["sums"].values()) == {"True"}
    resumed = done["one killed"]
    assert resumed.pop("previews") != done["whole"]["previews"]
    assert resumed == {name: value for name, value in one["whole"].items() if name != "previews"}
    # Another sum is another training: this is what the tree is for.
    assert done["fast"]["weights"] != one["whole"]["weights"]

    # The two were killed with -9 in the middle of a training; the one that was not goes too, and one process goes on.
    assert until(lambda: not lives(int((tmp_path / "pid-1").read_text())), 5)
    assert list((tmp_path / "killed").glob("step-0000000[48]-*"))
    alone = trained(tmp_path / "killed")
    assert alone["weights"] == one["whole"]["weights"]
    assert alone["snapshots"] == one["whole"]["snapshots"]
    assert alone["curves"] == one["whole"]["curves"]


@pytest.mark.slow
def test_when_another_process_is_killed_the_first_says_so_and_ends_to_be_tried_again(tmp_path: Path):
    process = start(tmp_path, 2, die="other")

    def last_checkpoint() -> int:
        return max((int(path.name[5:13]) for path in (tmp_path / "long").glob("step-*")), default=0)

    assert until(lambda: last_checkpoint() > 0, 60), process.stdout
    other = int((tmp_path / "pid-1").read_text())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(other, number)
    # The first process decides when to leave: both train on, which takes both.
    asked_at = last_checkpoint()
    assert until(lambda: last_checkpoint() >= asked_at + 3 * RUNTIME.checkpoint_every, 60)
    assert lives(other)
    assert process.poll() is None
    os.kill(other, signal.SIGKILL)
    killed_at = time.monotonic()
    output = ended(process, 75)
    assert time.monotonic() - killed_at < 30
    line = "stage together: process 1 of 2 was killed (signal 9); the last checkpoint is kept, the same command goes on"
    assert output.splitlines() == [line]


@pytest.mark.slow
def test_processes_that_are_not_alike_are_refused_in_one_line(tmp_path: Path):
    output = ended(start(tmp_path, 2, die="unlike"), 2)
    line = "stage together: process 1 of 2 has environment.torch 2.9, process 0 has 2.14; all must be the same"
    assert output.splitlines() == [line]


@pytest.mark.slow
def test_four_processes_compute_what_one_does(tmp_path: Path, one: dict[str, dict[str, str]]):
    ended(start(tmp_path, 4, tasks=SEVERAL), 0)
    done = digests(tmp_path)
    assert set(done.pop("sums").values()) == {"True"}
    assert done == {name: value for name, value in one.items() if name != "sums"}


@pytest.mark.slow
def test_torchrun_starts_them_as_well(tmp_path: Path, one: dict[str, dict[str, str]]):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    # The number in params.yaml is for those who start no processes themselves.
    ended(start(tmp_path, 4, *launcher, tasks=SEVERAL), 0)
    done = digests(tmp_path)
    assert set(done.pop("sums").values()) == {"True"}
    assert done == {name: value for name, value in one.items() if name != "sums"}


@pytest.mark.slow
def test_a_training_that_is_spread_repeats_and_resumes_to_the_same_bytes(tmp_path: Path):
    spread = {"shard": True}
    tasks = {"whole": spread, "again": spread | {"checkpoint_every": 3}}
    ended(start(tmp_path, 2, tasks=tasks, die="first", train=spread), -signal.SIGKILL)
    whole = digests(tmp_path)["whole"]
    assert digests(tmp_path)["again"] == whole
    ended(start(tmp_path, 2, tasks={"killed": spread}), 0)
    resumed = digests(tmp_path)["killed"]
    assert {**resumed, "previews": ""} == {**whole, "previews": ""}
    # Asked to leave in the middle of a step, both save what is spread over them.
    for look in (20, 21):
        left = tmp_path / str(look)
        assert ended(start(left, 2, die="leave", look=look), 75).splitlines() == [
            "stage together: interrupted by SIGTERM"
        ]
        assert list((left / "left").glob("step-*"))
    ended(start(left, 2, tasks={"left": spread}), 0)
    assert {**digests(left)["left"], "previews": ""} == {**whole, "previews": ""}
    # And any number of processes reads what two have written.
    (tmp_path / "killed").rename(tmp_path / "two")
    assert trained(tmp_path / "two", **spread)["curves"]


@pytest.mark.slow
def test_a_training_that_is_spread_is_the_same_up_to_rounding(tmp_path: Path):
    """On one process already, where all tensors are torch's distributed ones."""
    params = TRAIN.model_copy(update={"guard": GuardParams(non_finite="skip", spike=None, on_spike="skip")})
    plain, curves = run_fit(tmp_path / "plain", params=params, runtime=RUNTIME)
    spread, others = run_fit(tmp_path / "spread", params=params.model_copy(update={"shard": True}), runtime=RUNTIME)
    for row, other in zip(curves.rows, others.rows, strict=True):
        assert other == pytest.approx(row, rel=1e-5)
    for a, b in zip(plain.average.state_dict().values(), spread.average.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_step_that_is_refused_moves_nothing_that_is_spread(tmp_path: Path):
    state = TrainingState.new(model(), TRAIN)
    with sharded(state, TRAIN, CPU):
        weights = list(state.trained.parameters())
        before = [whole(each).clone() for each in weights]
        for each in weights:
            each.grad = torch.full_like(each, float("nan"))
        state.optimizer.found_inf = torch.ones(())
        state.optimizer.step()
        assert all(torch.equal(whole(a), b) for a, b in zip(weights, before, strict=True))
        for each in weights:
            each.grad = torch.ones_like(each)
        state.optimizer.found_inf = torch.zeros(())
        state.optimizer.step()
        assert not any(torch.equal(whole(a), b) for a, b in zip(weights, before, strict=True))
