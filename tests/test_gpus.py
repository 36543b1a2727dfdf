"""Never two processes on one GPU, all get their turn, and a dead one's GPU is free at once. The GPUs are stand-ins."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rediffuse import gpus, runtime
from rediffuse.errors import UserError
from tests.data.planted import params_with

CHECKOUT = Path(__file__).resolve().parents[1]
TWO = ["GPU-a", "GPU-b"]

# Marks the GPUs it was given as its own for a while; `open("x")` fails where another has.
USE = """
import sys, time
from pathlib import Path
from rediffuse import gpus
print(flush=True)
sys.stdin.readline()
marks = [Path(sys.argv[1]) / str(place) for place in gpus.take(["GPU-a", "GPU-b"], int(sys.argv[2]))]
for mark in marks:
    mark.open("x").close()
time.sleep(0.2)
for mark in marks:
    mark.unlink()
"""
HOLD = """
import sys, time
from rediffuse import gpus
from rediffuse.errors import LeavingError
from rediffuse.leaving import watched
try:
    with watched("train"):
        print(*gpus.take(["GPU-a", "GPU-b"], int(sys.argv[1])), flush=True)
        time.sleep(60)
except LeavingError as error:
    sys.exit(error.exit_code)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own for each test: no lock file in its folder, and nothing held."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", {})
    return tmp_path / "rediffuse-gpus"


def process(folder: Path, program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | {"TMPDIR": str(folder.parent), "PYTHONPATH": str(CHECKOUT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_contend_for_two_gpus_never_share_one_and_all_get_their_turn(folder: Path, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    contending = [process(folder, USE, marks, count) for count in (1, 2, 1, 2, 1)]
    for one in contending:
        one.stdout.readline()
    for one in contending:
        one.stdin.write("\n")
        one.stdin.flush()
    ends = [(one.communicate(timeout=60)[1], one.returncode) for one in contending]
    assert [code for _, code in ends] == [0] * 5, ends


def test_a_killed_process_frees_its_gpu_and_who_waits_says_so_once(folder: Path):
    holder = process(folder, HOLD, 2)
    assert holder.stdout.readline() == "0 1\n"
    waiting = process(folder, HOLD, 1)
    line = f"waits for one of the 2 GPUs; in use by process {holder.pid}, process {holder.pid}\n"
    assert waiting.stderr.readline() == line
    holder.kill()
    assert waiting.stdout.readline() == "0\n"
    waiting.kill()
    assert waiting.communicate()[1] == ""
    holder.communicate()


def test_who_waits_for_two_holds_none_and_leaves_when_asked(folder: Path):
    holder = process(folder, HOLD, 1)
    assert holder.stdout.readline() == "0\n"
    waiting = process(folder, HOLD, 2)
    assert waiting.stderr.readline() == f"waits for 2 of the 2 GPUs; in use by process {holder.pid}\n"
    assert gpus.take(TWO) == [1]
    waiting.send_signal(signal.SIGTERM)
    waiting.communicate(timeout=10)
    assert waiting.returncode == 75
    holder.kill()
    holder.communicate()


def test_a_process_is_given_its_own_gpu_again_whatever_the_order(folder: Path):
    assert gpus.take(TWO) == [0]
    assert gpus.take(TWO) == [0]
    assert gpus.take(TWO[::-1]) == [1]
    assert gpus.take(TWO, 2) == [0, 1]
    with pytest.raises(ValueError, match="3 of 2"):
        gpus.take(TWO, 3)
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666}


@pytest.mark.parametrize("how", ["symlink", "hardlink", "pipe"])
def test_no_file_that_others_point_a_lock_at_is_opened_or_written(folder: Path, tmp_path: Path, how: str):
    folder.mkdir()
    victim, lock = tmp_path / "victim", folder / "GPU-a.lock"
    victim.write_text("precious")
    {"symlink": lambda: lock.symlink_to(victim), "hardlink": lambda: lock.hardlink_to(victim)}.get(
        how, lambda: os.mkfifo(lock)
    )()
    with pytest.raises(UserError, match=r"GPU-a\.lock, a lock of the GPUs, .*; remove it"):
        gpus.take(TWO)
    assert victim.read_text() == "precious"


def test_a_folder_that_points_elsewhere_is_refused(folder: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="rediffuse-gpus, where the locks of the GPUs are, can't be used"):
        gpus.take(TWO)


def test_a_stage_computes_on_the_first_free_gpu_and_again_on_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: SimpleNamespace(uuid="ab"[place]))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    # What it notes of the GPU is asked of a driver that is not here.
    monkeypatch.setattr(runtime, "environment", lambda device: {"device": device.type})
    holder = process(folder, HOLD, 1)
    assert holder.stdout.readline() == "0\n"
    second = torch.device("cuda", 1)
    params = params_with(runtime__device="auto", runtime__threads=1).runtime
    assert [runtime.start(params), runtime.start(params), *chosen] == [second] * 4
    assert runtime.start(params.model_copy(update={"device": "cpu"})) == torch.device("cpu")
    holder.kill()
    holder.communicate()


def test_the_slices_of_one_gpu_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: SimpleNamespace(uuid="a"))
    for slice_name, lock in (("MIG-1", "MIG-1"), ("MIG-GPU-9/7/0", "MIG-GPU-9-7-0"), ("0", "GPU-a")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", slice_name)
        assert runtime.gpu_names() == [lock]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_real_gpu_numbers_are_drawn_and_seeded_with_its_index(folder: Path):
    from rediffuse.randomness import generator, seeded_global

    device = runtime.start(params_with(runtime__device="cuda").runtime)
    assert device.index == torch.cuda.current_device()
    keyed = torch.randn(4, generator=generator(0, "test", device=device), device=device)
    assert keyed.device == device
    before = torch.cuda.get_rng_state(device)
    with seeded_global(0, "test", device=device):
        assert torch.equal(torch.randn(4, device=device), keyed)
    assert torch.equal(torch.cuda.get_rng_state(device), before)
    assert [path.name.startswith(("GPU-", "MIG-", "turn")) for path in folder.iterdir()] == [True, True]
