"""What a kill and a disk do to a checkpoint that is being written: acceptance cases 2, 4 (the storage's side), 11, 14.

Case 15, an output that can't be written, is in tests/stages/test_train.py and tests/test_state_folder.py.
"""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rediffuse.errors import TryAgainError
from rediffuse.training import checkpoint_file
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.checkpoint_file import slots
from tests.training.test_checkpoint import PARTS, held_up, saved, steps_in, trained
from tests.training.test_training import fresh

CHECKOUT = Path(__file__).parents[2]

# Writes a checkpoint of step 3 over those of steps 1 and 2, again and again, each time in a child that is killed
# before another line of the thread that writes; 0 is a child that lives. Prints how many lines there were.
KILLED_AT_EACH_LINE = """
import linecache, os, shutil, signal, sys, threading
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.test_checkpoint import CheckpointFolder, PARTS, trained

FILES = ("checkpoint_file.py", "checkpoint_writer.py", "files.py", "model.py")
root, state = Path(sys.argv[1]), trained(3)

def write(folder, at):
    lines = set()
    def trace(frame, event, argument):
        name, line = frame.f_code.co_filename, frame.f_lineno
        if not name.endswith(FILES):
            return None
        if event == "line" and (name, line) not in lines:
            lines.add((name, line))
            if len(lines) == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    threading.settrace(trace)
    with CheckpointFolder(folder, PARTS).writer() as writer:
        writer.save(state, {"note": 3})
    (folder / "lines").write_text("".join(linecache.getline(*line).strip() + "\\n" for line in sorted(lines)))

def child(at):
    folder = Path(shutil.copytree(root / "before", root / str(at)))
    process = os.fork()
    if not process:
        write(folder, at)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == (signal.SIGKILL if at else 0), at
    return folder

lines = (child(0) / "lines").read_text()
for at in range(1, len(lines.splitlines()) + 1):
    child(at)
print(lines, end="")
"""


# Some installed package may bring a folder `tests` of its own.
THESE_TESTS = (
    f"import sys, types; sys.modules['tests'] = types.ModuleType('tests', ''); "
    f"sys.modules['tests'].__path__ = [{str(CHECKOUT / 'tests')!r}]"
)


def python(script: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    """What a script that imports this checkout prints."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1"}
    command = [*before, sys.executable, "-c", f"{THESE_TESTS}\n{script}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kill_before_any_line_of_a_write_leaves_the_checkpoint_before_or_the_new_one(tmp_path: Path):
    """Case 2."""
    saved(tmp_path / "before", 1, 2)
    traced = python(KILLED_AT_EACH_LINE, str(tmp_path)).splitlines()
    # Writing, fsync, rename, fsync of the folder, reading back, removing the oldest.
    calls = (
        "save_file(",
        "os.fsync(file",
        ".replace(",
        "fsync_directory(",
        "os.fsync(descriptor",
        "reads_back(",
        "unlink()",
    )
    assert [call for call in calls if not any(call in line for line in traced)] == []
    found, leftovers, state = [], 0, fresh()
    for at in range(1, len(traced) + 1):
        checkpoints = CheckpointFolder(tmp_path / str(at), PARTS)
        # Never a part of a file under a checkpoint's name.
        assert all(checkpoint_file.reads_back(path) for _, path in slots(checkpoints.path))
        left = list(checkpoints.path.glob(".*"))
        assert checkpoints.load(state) == {"note": state.step}
        found.append(state.step)
        assert 2 <= len(steps_in(checkpoints.path)) <= 3
        if left:
            with checkpoints.locked():
                leftovers += len(left)
                assert not list(checkpoints.path.glob(".*"))
    # One rename in all: before it the old one, after it the new one.
    assert found == sorted(found)
    assert set(found) == {2, 3}
    assert leftovers > 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_kill_in_the_middle_of_the_bytes_leaves_the_checkpoint_before(tmp_path: Path, share: float):
    """Case 2: what safetensors and the project call their temporary files is passed over, and swept."""
    checkpoints = saved(tmp_path, 1, 2)
    content = slots(tmp_path)[0][1].read_bytes()
    for name in (".tmpUvuGOC", ".77.next.safetensors"):
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
    assert checkpoints.load(fresh()) == {"note": 2}
    with checkpoints.locked():
        assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".json", ".safetensors", ".safetensors"]


def test_bytes_are_on_the_disk_before_their_name_is_and_the_name_before_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Case 2, for a machine that loses its power: what the kernel was asked for, in its order."""
    asked, checkpoints = [], saved(tmp_path, 1, 2)
    (oldest,) = tmp_path.glob("step-00000001-*")

    def note(place: object, name: str, told: Callable[..., str]) -> None:
        done = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given, **more: (asked.append(told(*given)), done(*given, **more))[1])

    note(os, "fsync", lambda descriptor: f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
    note(Path, "replace", lambda path, target: f"{path.name} is {target.name[:13]}")
    note(Path, "unlink", lambda path, **_: f"no {path.name}")
    with checkpoints.writer() as writer:
        writer.save(trained(3), {"note": 3})
    new = f".{os.getpid()}.next.safetensors"
    expected = [f"fsync {new}", f"{new} is step-00000003", f"fsync {tmp_path.name}", f"no {oldest.name}"]
    assert [each for each in asked if each in expected] == expected


def test_a_signal_while_waiting_for_a_write_ends_the_wait_and_not_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Case 4: the second one, that asks to leave at once."""

    class LeaveError(Exception):
        pass

    def leave(*_):
        raise LeaveError

    begun, go_on = held_up(monkeypatch)
    checkpoints = saved_without_delay(tmp_path, go_on)
    before = signal.signal(signal.SIGUSR2, leave)
    begun.clear()
    go_on.clear()
    try:
        writer = checkpoints.writer()
        writer.save(trained(2), {"note": 2})
        assert begun.wait(30)
        main = threading.main_thread().ident
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGUSR2)).start()
        with pytest.raises(LeaveError):
            writer.finish()
    finally:
        signal.signal(signal.SIGUSR2, before)
    # The process may end here, or go on.
    assert checkpoints.load(fresh()) == {"note": 1}
    go_on.set()
    writer.finish()
    assert checkpoints.load(fresh()) == {"note": 2}


def saved_without_delay(folder: Path, go_on: threading.Event) -> CheckpointFolder:
    go_on.set()
    return saved(folder, 1)


def test_a_state_loaded_and_saved_three_times_is_the_same_bytes(tmp_path: Path):
    """Case 11, with a snapshot beside, and in whatever memory the tensors lie."""
    first = CheckpointFolder(tmp_path / "0", PARTS)
    state = trained(2)
    with first.locked(), first.writer() as writer:
        writer.take_snapshot(state, {"a": 1})
        writer.save(state, {"rows": [{"step": 2, "loss": 0.1}]})
    for turn in range(3):
        source, target = tmp_path / str(turn), tmp_path / str(turn + 1)
        shutil.copytree(source / "snapshots", target / "snapshots")
        state, again = fresh(), CheckpointFolder(target, PARTS)
        record = CheckpointFolder(source, PARTS).load(state)
        again._digests |= checkpoint_file.read(slots(source)[0][1])[0].snapshots
        with again.locked(), again.writer() as writer:
            writer.save(state, record)
    kept = [slots(tmp_path / str(turn))[0][1] for turn in range(4)]
    assert len({(path.name, path.read_bytes()) for path in kept}) == 1


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let the kernel refuse to write a file beyond so many bytes, as a full disk or a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("what", ["checkpoint", "snapshot"])
def test_a_write_that_the_kernel_refuses_ends_with_75_and_leaves_both_slots(tmp_path: Path, what: str, share: float):
    """Case 14, for writes that end after each so many bytes."""
    checkpoints, state = saved(tmp_path, 1, 2), trained(3)
    kept = {path: path.read_bytes() for path in tmp_path.glob("step-*")}
    size = min(len(content) for content in kept.values()) // (1 if what == "checkpoint" else 5)
    writer = checkpoints.writer()
    with checkpoints.locked(), no_file_above(int(share * size)), pytest.raises(TryAgainError) as raised:
        writer.save(state, {"note": 3}) if what == "checkpoint" else writer.take_snapshot(state, {"a": 1})
        writer.finish()
    message = f"the {what} of step 3 could not be written in {tmp_path}: File too large; the checkpoint of step 2 stays"
    assert (str(raised.value), raised.value.exit_code) == (message, 75)
    assert {path: path.read_bytes() for path in tmp_path.glob("step-*")} == kept
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
    assert checkpoints.load(fresh()) == {"note": 2}


@pytest.mark.parametrize(
    ("place", "number"),
    [("fsync", errno.EDQUOT), ("fsync", errno.ENOSPC), ("rename", errno.EROFS), ("digest", errno.EIO)],
)
def test_an_error_of_the_disk_at_any_place_is_one_line_and_leaves_both_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
):
    """Case 14: a quota is told at fsync, and a disk that fails goes read-only."""
    checkpoints, state = saved(tmp_path, 1, 2), trained(3)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    targets = {"fsync": (os, "fsync"), "rename": (Path, "replace"), "digest": (checkpoint_file, "sha256")}
    with checkpoints.locked(), checkpoints.writer() as writer, monkeypatch.context() as patch:
        patch.setattr(*targets[place], fail)
        writer.save(state, {"note": 3})
        with pytest.raises(TryAgainError, match=f"{os.strerror(number)}; the checkpoint of step 2 stays"):
            writer.finish()
    assert steps_in(tmp_path) == [2, 1]
    assert not list(tmp_path.glob(".*"))
    assert checkpoints.load(fresh()) == {"note": 2}


FULL_DISK = """
import sys
from pathlib import Path
from tests.training.test_checkpoint import CheckpointFolder, PARTS, saved, steps_in, trained
from tests.training.test_training import fresh
from rediffuse.errors import TryAgainError

folder = Path(sys.argv[1])
saved(folder, 1, 2)
(folder / "fill").write_bytes(b"")
with open(folder / "fill", "wb", buffering=0) as fill:
    try:
        while fill.write(bytes(4096)):
            pass
    except OSError:
        pass
checkpoints = CheckpointFolder(folder, PARTS)
try:
    with checkpoints.writer() as writer:
        writer.save(trained(3), {})
except TryAgainError as error:
    print(error)
print(steps_in(folder), checkpoints.load(fresh()), [path.name for path in folder.glob(".*")])
"""


def test_a_disk_that_is_full_leaves_both_slots(tmp_path: Path):
    """Case 14, on a real file system of 2 MiB, where this user may make one in a namespace of its own."""
    inside = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    mount = f'mount -t tmpfs -o size=2m tmpfs "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run([*inside, mount], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    message, left = python(FULL_DISK, str(tmp_path), before=(*inside, f'{mount} && exec "$0" "$@"')).splitlines()
    assert message.endswith("No space left on device; the checkpoint of step 2 stays")
    assert left == "[2, 1] {'note': 2} []"
