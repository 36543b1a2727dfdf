"""A process that is asked to leave: at once, where it can, or by force; and never one that was not asked."""

import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rediffuse.errors import LeavingError
from rediffuse.leaving import deferred, watched
from rediffuse.leaving.ancestry import is_dvc

SOURCE = Path(__file__).resolve().parents[1] / "src"

# `ready()` lets the test send its signal; the body runs as a stage does. A shell's background would ignore SIGINT.
FRAME = """
import ctypes, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
{before}
from rediffuse.errors import LeavingError
from rediffuse.leaving import deferred, stay, watch_process, watched

def ready():
    print("ready", flush=True)

def wait(asked):
    while not asked.reason:
        time.sleep(0.01)

def work():
{body}

try:
    with watched("train", grace={grace}):
        work()
        print("done")
except LeavingError as error:
    print(error)
    sys.exit(error.exit_code)
"""


class Child:
    """A process that runs `body` inside `watched`."""

    def __init__(self, body: str, *, before: str = "", grace: float = 8.0, errors: int = subprocess.PIPE):
        body = "\n".join(f"    {line}" for line in body.strip().splitlines())
        self.process = subprocess.Popen(
            [sys.executable, "-c", FRAME.format(body=body, before=before, grace=grace)],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert "ready\n" in iter(self.process.stdout.readline, "")

    def ends(self, *numbers: int) -> tuple[int, str, str]:
        """Send it signals: its exit code, what it printed since, and its stderr."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(0.05)
        printed, errors = self.process.communicate("\n", timeout=20)
        return self.process.returncode, printed, errors


def message(reason: str) -> str:
    return f"{reason}; the same command goes on\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_a_signal_interrupts_what_waits_and_what_takes_any_exception_for_its_own(name: str):
    body = """
try:
    ready()
    time.sleep(60)
except Exception:
    print("a damaged image")
"""
    assert Child(body).ends(getattr(signal, name)) == (75, message(f"interrupted by {name}"), "")


def test_what_was_ignored_from_the_start_stays_ignored():
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)"
    child = Child("ready()\nsys.stdin.readline()", before=ignored)
    assert child.ends(signal.SIGHUP, signal.SIGINT) == (0, "done\n", "")


def test_deferred_code_ends_where_it_chooses_and_a_second_signal_changes_nothing():
    body = """
with deferred() as asked:
    asked.check()
    ready()
    wait(asked)
    time.sleep(0.2)
    print("saved", asked.reason)
    asked.check()
    print("one step more")
"""
    reason = "interrupted by SIGTERM"
    expected = f"saved {reason}\n{message(reason)}"
    assert Child(body).ends(signal.SIGTERM, signal.SIGINT, signal.SIGTERM) == (75, expected, "")


def test_a_request_that_deferred_code_did_not_look_at_is_raised_after_it():
    body = """
with deferred():
    with deferred() as asked:
        ready()
        wait(asked)
    print("inner")
print("after")
"""
    assert Child(body).ends(signal.SIGUSR1) == (75, "inner\n" + message("interrupted by SIGUSR1"), "")


def test_when_the_state_is_being_removed_the_work_is_finished():
    body = """
stay()
ready()
time.sleep(0.3)
with deferred() as asked:
    wait(asked)
    asked.check()
"""
    assert Child(body).ends(signal.SIGTERM) == (0, "done\n", "")


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    ready()\n    time.sleep(60)\nexcept BaseException:\n    pass",
        "try:\n    ready()\n    time.sleep(60)\nfinally:\n    raise RuntimeError('a child died of the same signal')",
        "try:\n    ready()\n    time.sleep(60)\nexcept BaseException:\n    sys.exit(15)",
    ],
    ids=["swallowed", "another error", "exit"],
)
def test_a_request_is_not_lost(body: str):
    code, printed, errors = Child(body).ends(signal.SIGTERM)
    assert (code, printed.removeprefix("done\n"), errors) == (75, message("interrupted by SIGTERM"), "")


def test_an_error_of_the_user_after_a_request_stays_one():
    body = """
from rediffuse.errors import UserError
with deferred() as asked:
    ready()
    wait(asked)
    raise UserError("train.lr is 10")
"""
    code, printed, errors = Child(body).ends(signal.SIGTERM)
    assert (code, printed) == (1, "")
    assert errors.endswith("UserError: train.lr is 10\n")


# The default mutex of the C library, locked twice: no signal ends that.
HANG = "lock = ctypes.create_string_buffer(64); libc = ctypes.CDLL(None); libc.pthread_mutex_lock(lock)\n"


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        (HANG + "with deferred():\n    ready()\n    libc.pthread_mutex_lock(lock)", ""),
        ("try:\n    ready()\n    time.sleep(60)\nfinally:\n    time.sleep(60)", ""),
        ("with deferred():\n    ready()\n    while True: pass", ""),
    ],
    ids=["C call", "clean-up", "never looks"],
)
def test_what_hangs_is_ended_when_the_grace_is_over(body: str, printed: str):
    start = time.monotonic()
    ended = Child(body, grace=0.7).ends(signal.SIGTERM, signal.SIGTERM)
    line = "stage train: interrupted by SIGTERM, and not done 0.7 s later; the same command goes on\n"
    assert ended == (75, printed, line)
    assert 0.7 < time.monotonic() - start < 30


SHORT = "import rediffuse.leaving\nrediffuse.leaving.GRACE = 0.7\nrediffuse.leaving.watch_process('train')\n"


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        ("stay()\nready()\ntime.sleep(60)", ""),
        ("import atexit\natexit.register(lambda: (ready(), time.sleep(60)))", ""),
    ],
    ids=["all is made", "after the work"],
)
def test_a_request_after_the_work_takes_no_result_away_whatever_hangs_then(body: str, printed: str):
    start = time.monotonic()
    ended = Child(body, before=SHORT).ends(signal.SIGTERM)
    assert ended == (0, printed, "stage train: interrupted by SIGTERM, and its work is done\n")
    assert 0.7 < time.monotonic() - start < 30


def test_an_error_after_all_is_made_is_not_taken_for_the_request():
    child = Child("stay()\nready()\nwith deferred() as asked:\n    wait(asked)\nraise OSError('the disk is full')")
    code, printed, errors = child.ends(signal.SIGTERM)
    assert (code, printed, errors.splitlines()[-1]) == (1, "", "OSError: the disk is full")


def full() -> int:
    """The writing end of a pipe that takes no byte more."""
    _, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * select.PIPE_BUF)
    os.set_blocking(writer, True)
    return writer


def stopped() -> int:
    """A terminal after Ctrl-S."""
    _, terminal = os.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    return terminal


@pytest.mark.parametrize("before", ["", "sys.stderr.close()\n"], ids=["open", "closed"])
@pytest.mark.parametrize("errors", [full, stopped])
def test_a_stderr_that_nobody_reads_does_not_keep_a_process_from_its_end(errors: Callable[[], int], before: str):
    body = "with deferred():\n    ready()\n    time.sleep(60)"
    child = Child(body, before=SHORT + before, errors=errors())
    assert child.ends(signal.SIGTERM)[0] == 75


def test_before_the_work_begins_a_request_ends_the_process_with_one_line():
    child = Child("pass", before="from rediffuse.leaving import watch_process\nwatch_process('train')\n" + EARLY)
    assert child.ends(signal.SIGINT) == (75, "", f"stage train: {message('interrupted by SIGINT')}")


EARLY = "print('ready', flush=True); time.sleep(60)"


def test_a_process_that_watches_itself_hears_nothing_after_its_work_but_does_not_hang():
    before = "from rediffuse.leaving import watch_process\nwatch_process('train')"
    atexit = "import atexit\natexit.register(lambda: (ready(), sys.stdin.readline(), print('finished')))"
    assert Child(atexit, before=before).ends(signal.SIGTERM) == (0, "finished\n", "")


def test_a_forked_child_that_is_terminated_does_not_ask_its_parent():
    body = """
child = os.fork()
if not child:
    ready()
    time.sleep(60)
time.sleep(0.3)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
time.sleep(0.3)
"""
    assert Child(body).ends() == (0, "-15\ndone\n", "")


# A dvc that starts a stage through a shell, as DVC does; the shell lives on and tells how the stage ended.
DVC = """
import subprocess, sys
subprocess.run(["/bin/sh", "-c", sys.argv[2]])
"""


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
@pytest.mark.parametrize("hangs", [False, True])
def test_a_stage_whose_dvc_has_died_leaves(tmp_path: Path, reaped: bool, hangs: bool):
    (tmp_path / "dvc").write_text(DVC)
    body = (
        "    with deferred():\n        ready()\n        time.sleep(20)" if hangs else "    ready()\n    time.sleep(20)"
    )
    (tmp_path / "stage.py").write_text(FRAME.format(body=body, before="", grace=0.5))
    command = f"{sys.executable} stage.py 2>&1; echo $? > code.tmp; mv code.tmp code"
    dvc = subprocess.Popen(
        [sys.executable, tmp_path / "dvc", "repro", command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert dvc.stdout.readline() == "ready\n"
    dvc.kill()
    if reaped:
        dvc.wait()
    assert dvc.stdout.read() == (
        "stage train: dvc has died, and not done 0.5 s later; the same command goes on\n"
        if hangs
        else message("dvc has died")
    )
    while not (tmp_path / "code").exists():
        time.sleep(0.01)
    assert (tmp_path / "code").read_text() == "75\n"
    dvc.wait()


# Starts a stage as a script does that uses DVC's Python API: no command line tells that it is dvc. The stage begins
# when its starter has died, or lives on.
STARTER = """
import os, subprocess, sys
ready, go = os.pipe()
command = "read _ <&%d; %s stage.py; echo $? > code.tmp; mv code.tmp code" % (ready, sys.executable)
shell = subprocess.Popen(["/bin/sh", "-c", command], pass_fds=[ready], env=os.environ | {"DVC_STAGE": "train"})
os.write(go, b"go\\n")
if sys.argv[1] == "lives":
    shell.wait()
else:
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("starter", "code", "said"),
    [
        ([sys.executable, "starter.py", "dies"], 75, f"stage train: {message('dvc has died')}"),
        ([sys.executable, "starter.py", "lives"], 0, "done\n"),
        # dvc is outside.
        (["unshare", "-Urpf", "--mount-proc", sys.executable, "stage.py"], 0, "done\n"),
    ],
    ids=["dead", "alive", "unseen"],
)
def test_a_stage_whose_dvc_died_before_it_was_looked_for_leaves(
    tmp_path: Path, starter: list[str], code: int, said: str
):
    if starter[0] == "unshare" and subprocess.run(["unshare", "-Urpf", "--mount-proc", "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    (tmp_path / "starter.py").write_text(STARTER)
    before = "from rediffuse.leaving import watch_process\nwatch_process('train')"
    (tmp_path / "stage.py").write_text(FRAME.format(body="    time.sleep(0.5)", before=before, grace=8))
    started = subprocess.run(
        starter,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SOURCE)} | ({"DVC_STAGE": "train"} if starter[0] == "unshare" else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert started.stdout == said
    ended = started.returncode
    if starter[0] != "unshare":
        while not (tmp_path / "code").exists():
            time.sleep(0.01)
        ended = int((tmp_path / "code").read_text())
    assert ended == code


@pytest.mark.parametrize(
    "command", ["-m stages.train", "-um stages.train", "-X dev -mstages.train", "-Bumstages.train"]
)
def test_a_stage_is_named_whatever_stands_before_it_on_the_command_line(tmp_path: Path, command: str):
    (tmp_path / "stages").mkdir()
    shutil.copy(SOURCE.parent / "stages" / "__init__.py", tmp_path / "stages")
    (tmp_path / "stages" / "train.py").write_text("import os, signal, time\nos.kill(os.getpid(), 15)\ntime.sleep(60)\n")
    ended = subprocess.run(
        [sys.executable, *command.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (75, f"stage train: {message('interrupted by SIGTERM')}")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/a/bin/python3.11 /a/bin/dvc repro", True),
        ("/a/bin/python -X dev -u /a/bin/dvc exp exec-run --infofile x", True),
        ("python3 -m dvc repro train", True),
        ("/usr/bin/dvc repro", True),
        ("/bin/bash -c dvc repro", False),
        ("python /a/bin/pytest dvc", False),
        ("python -m pytest -m dvc", False),
        ("python -c dvc dvc", False),
        ("vim dvc", False),
        ("", False),
    ],
)
def test_dvc_is_known_by_its_command_line(command: str, expected: bool):
    assert is_dvc(command.split()) is expected


def test_outside_the_main_thread_and_without_a_watch_nothing_is_asked_and_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]

    def elsewhere():
        with watched("train"), deferred() as asked:
            seen.append((signal.getsignal(signal.SIGTERM), asked.reason, asked.check()))

    seen: list[object] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [(before[0], None, None)]
    with pytest.raises(LeavingError, match="interrupted by SIGUSR1"), watched("train"), watched("inner"):
        signal.raise_signal(signal.SIGUSR1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before
    assert [thread.name for thread in threading.enumerate()].count("leaving") == 0
