"""Cases 9 and 51: what ends one of the processes of a stage ends it as the user must know, and never too early."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.distributed import HashStore

from rediffuse import joining
from rediffuse.errors import TryAgainError, UserError
from rediffuse.joining import others
from rediffuse.joining.places import Place, backend, has_own_gpu, shared_places
from rediffuse.params import RuntimeParams, load_params

CHECKOUT = Path(__file__).parents[1]
RUNTIME = load_params(CHECKOUT / "params.yaml").runtime.model_copy(
    update={"processes": 2, "device": "cpu", "threads": 1}
)
PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path

from rediffuse import joining, leaving
from rediffuse.errors import LeavingError, TryAgainError, UserError
from rediffuse.joining import others
from rediffuse.params import RuntimeParams

joining.GRACE = others.GRACE = 0.6
GONE = Path("gone")


def lack(me):
    if not me.first:
        raise UserError("out of memory; use less")
    me.gather(1)


def bug_while_the_first_is_busy(me):
    if not me.first:
        raise ValueError("a bug")
    time.sleep(30)


def killed_when_done(me):
    if me.first:
        time.sleep(2)
        print("written", flush=True)
    else:
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGKILL]).start()


def dvc_dies(me):
    with leaving.deferred() as asked:
        try:
            for turn in range(60):
                me.gather_on_all(turn)
                asked.check()
                time.sleep(0.05)
                if me.first and turn == 1:
                    GONE.touch()
                if me.first and turn == 20:
                    os.kill(os.getpid(), signal.SIGTERM)
        except LeavingError:
            if me.first:
                print("saved", flush=True)
            raise


if __name__ == "__main__":
    if "RANK" in os.environ:
        # Only this one sees what both will, as if it had looked first.
        leaving._LOOK_EVERY = 0.02
        leaving.dvc_above = lambda: "dvc"
        leaving.lives = lambda _: not GONE.exists()
    runtime = RuntimeParams.model_validate_json(os.environ["RUNTIME"])
    try:
        with leaving.watched("start_joined"), joining.joined("start_joined", runtime) as me:
            globals()[os.environ["HOW"]](me)
    except (UserError, TryAgainError, LeavingError) as error:
        sys.stderr.write(f"stage start_joined: {error}\\n")
        sys.exit(error.exit_code)
"""


def ended(folder: Path, how: str) -> tuple[int, str]:
    """The exit code of two processes that end so, and what they printed."""
    (folder / "start_joined.py").write_text(PROGRAM)
    path = os.pathsep.join([str(CHECKOUT / "src"), str(folder)])
    told = {"HOW": how, "RUNTIME": RUNTIME.model_dump_json(), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "start_joined"],
        cwd=folder,
        env=os.environ | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=45,
    )
    return done.returncode, done.stdout


def test_the_stage_ends_with_what_ended_one_of_its_processes(tmp_path: Path):
    assert ended(tmp_path, "lack") == (2, "stage start_joined: process 1 of 2: out of memory; use less\n")


def test_a_bug_in_one_of_the_processes_is_the_stages_and_keeps_its_traceback(tmp_path: Path):
    code, output = ended(tmp_path, "bug_while_the_first_is_busy")
    assert code == 1
    assert output.startswith("stage start_joined: process 1 of 2 has failed:\nTraceback")
    assert output.endswith("\nValueError: a bug\n")


@pytest.mark.parametrize(
    ("code", "told", "kind", "line"),
    [
        (2, b"", UserError, "process 1 of 2 ended with exit code 2; it has said why"),
        (75, b'{"text": "run it again"}', TryAgainError, "process 1 of 2: run it again"),
        (75, b"", TryAgainError, "process 1 of 2 ended with exit code 75; the last checkpoint is kept, the same"),
        (-9, b"", TryAgainError, "process 1 of 2 was killed (signal 9); the last checkpoint is kept, the same"),
        (-6, b'{"text": "a b', TryAgainError, "process 1 of 2 was killed (signal 6); the last checkpoint is kept"),
        (1, b"", RuntimeError, "process 1 of 2 ended with exit code 1"),
    ],
)
def test_an_early_end_means_for_the_stage_what_it_meant_for_the_process(
    code: int, told: bytes, kind: type[Exception], line: str
):
    failure = others._Other(1, SimpleNamespace(returncode=code), -1, told).failure(2)
    assert type(failure) is kind
    assert str(failure).startswith(line)


def test_a_process_that_is_done_may_die_while_the_first_still_writes(tmp_path: Path):
    assert ended(tmp_path, "killed_when_done") == (0, "written\n")


def test_the_first_process_alone_is_asked_to_leave(tmp_path: Path):
    line = "stage start_joined: interrupted by SIGTERM; the same command goes on\n"
    assert ended(tmp_path, "dvc_dies") == (75, "saved\n" + line)


def test_processes_are_ended_when_not_all_can_be_started(monkeypatch: pytest.MonkeyPatch):
    real, started = subprocess.Popen, []

    def one(*_: object, **__: object) -> "subprocess.Popen[bytes]":
        if started:
            raise BlockingIOError("no more processes")
        started.append(real(["sleep", "60"]))
        return started[0]

    monkeypatch.setattr(others.subprocess, "Popen", one)
    with (
        pytest.raises(BlockingIOError, match=r"^no more processes$"),
        joining.joined("stages.train", RUNTIME.model_copy(update={"processes": 3})),
    ):
        pass
    assert started[0].poll() == -9


def test_the_store_of_the_processes_listens_to_this_machine_alone():
    store = joining._own_store(2)
    port = f":{store.port:04X}"
    listening = [
        columns[1].removesuffix(port)
        for table in ("tcp", "tcp6")
        for columns in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines())
        if columns[1].endswith(port) and columns[3] == "0A"
    ]
    assert [socket.inet_ntoa(bytes.fromhex(address)[::-1]) for address in listening] == ["127.0.0.1"]


def places(*machines: tuple[tuple[str, ...], ...], kind: str = "cuda") -> list[Place]:
    """A place for each process, by machine: the GPUs that it sees."""
    return [Place(str(name), kind, gpus) for name, seen in enumerate(machines) for gpus in seen]


BOTH, FIRST, SECOND = ("a", "b"), ("a",), ("b",)


@pytest.mark.parametrize(
    ("seen", "nccl"),
    [
        # Two machines, whose launcher says nothing of how many are on each, or shows each process its own GPU alone.
        (places((BOTH, BOTH), (BOTH, BOTH)), True),
        (places((FIRST, SECOND), (FIRST, SECOND)), True),
        (places((BOTH, BOTH), (FIRST, FIRST)), False),
        (places((FIRST, FIRST)), False),
        (places(((), ()), kind="cpu"), False),
    ],
)
def test_processes_exchange_by_nccl_where_each_has_a_gpu(seen: list[Place], nccl: bool):
    assert backend(seen) == ("cpu:gloo,cuda:nccl" if nccl else "gloo")


def test_only_a_machine_with_too_few_gpus_shares_them():
    seen = places((BOTH, BOTH), (FIRST, FIRST))
    assert [has_own_gpu(seen, rank) for rank in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("unlike", [False, True])
def test_all_compute_on_the_kind_of_device_that_the_first_does(monkeypatch: pytest.MonkeyPatch, unlike: bool):
    asked, store, done = [], HashStore(), {}

    def device_type(runtime: RuntimeParams) -> str:
        asked.append(runtime.device)
        return "cuda" if unlike and threading.current_thread().name == "1" else "cpu"

    def look(rank: int) -> None:
        runtime = RUNTIME.model_copy(update={"device": "auto" if rank == 0 else "cuda"})
        try:
            done[rank] = shared_places(rank, 2, runtime, store)
        except UserError as error:
            done[rank] = str(error)

    monkeypatch.setattr("rediffuse.joining.places.device_type", device_type)
    monkeypatch.setattr("rediffuse.joining.places.gpu_names", lambda: ["a"])
    threads = [threading.Thread(target=look, args=[rank], name=str(rank), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert asked == ["auto", "auto"]
    assert done[0] == done[1]
    if unlike:
        assert done[0].startswith("process 1 of 2 would compute on cuda, process 0 on cpu; all must be the same")
    else:
        assert [place.kind for place in done[0]] == ["cpu", "cpu"]
