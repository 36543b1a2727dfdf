"""What a disk and its users can do to the checkpoints: acceptance cases 2, 4 (the storage's side), 11, 14 and 20 to 25.

Case 15, an output that can't be written, is in tests/stages/test_train.py and tests/test_state_folder.py.
"""

import errno
import hashlib
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from rediffuse.errors import TryAgainError, UserError
from rediffuse.training import checkpoint_file
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.checkpoint_file import Content, slots
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.tensors import tensors_of
from tests.training.test_checkpoint import PARTS, held_up, same, saved, steps_in, trained, values
from tests.training.test_training import fresh, run_fit

CHECKOUT = Path(__file__).parents[2]

# Writes a checkpoint of step 3 over those of steps 1 and 2, again and again, each time in a child that is killed
# before another line of the thread that writes; 0 is a child that lives. Prints how many lines there were.
KILLED_AT_EACH_LINE = """
import os, shutil, signal, sys, threading
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
    (folder / "lines").write_text(str(len(lines)))

def child(at):
    folder = Path(shutil.copytree(root / "before", root / str(at)))
    process = os.fork()
    if not process:
        write(folder, at)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == (signal.SIGKILL if at else 0), at
    return folder

lines = int((child(0) / "lines").read_text())
for at in range(1, lines + 1):
    child(at)
print(lines)
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
    """Case 2: fsync, rename, reading back and removing are among the lines."""
    saved(tmp_path / "before", 1, 2)
    lines = int(python(KILLED_AT_EACH_LINE, str(tmp_path)))
    assert lines > 40
    found, leftovers, state = [], 0, fresh()
    for at in range(1, lines + 1):
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


def flip(content: bytes, at: float) -> bytes:
    changed = bytearray(content)
    changed[int(at * (len(content) - 1))] ^= 1
    return bytes(changed)


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "flipped in the header": lambda content: flip(content, 0.0001),
    "flipped in the tensors": lambda content: flip(content, 0.7),
    "flipped at the end": lambda content: flip(content, 1.0),
    "truncated by one": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\0",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_checkpoint_whose_bytes_changed_is_passed_over_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
):
    """Cases 20 and 21."""
    checkpoints = saved(tmp_path, 1, 2)
    newest = slots(tmp_path)[0][1]
    newest.write_bytes(SPOILT[how](newest.read_bytes()))
    state = fresh()
    assert checkpoints.load(state) == {"note": 1}
    assert same(values(state), values(trained(1)))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: a checkpoint is passed over, training goes on from step 1")
    assert newest.name in line
    assert "not those of the SHA-256 in its name" in line


def test_after_a_spoilt_checkpoint_the_next_ones_take_its_place(tmp_path: Path):
    """Case 20: what was passed over does not count as one of the two."""
    checkpoints = saved(tmp_path, 1, 4)
    newest = slots(tmp_path)[0][1]
    newest.write_bytes(flip(newest.read_bytes(), 0.7))
    assert checkpoints.load(fresh()) == {"note": 1}
    saved(tmp_path, 2)
    assert steps_in(tmp_path) == [2, 1]


def put(folder: Path, content: bytes, step: int = 3) -> Path:
    """A checkpoint of any content, under its right digest."""
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}-{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    return path


class Marked:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


HUGE = (2**60).to_bytes(8, "little")
FOREIGN: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda marker: b"",
    "seven bytes": lambda marker: b"\0" * 7,
    "a header of 2^60 bytes": lambda marker: HUGE + b"{}",
    "a header of 2^60 bytes of JSON": lambda marker: HUGE + json.dumps({"a": {"dtype": "F32"}}).encode(),
    "offsets beyond the end": lambda marker: with_header(
        {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}
    ),
    "a shape of 2^60 values": lambda marker: with_header(
        {"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 4]}}, b"\0" * 4
    ),
    "no word of what it is": lambda marker: save({"a": torch.ones(1)}),
    "words that say nothing": lambda marker: save({"a": torch.ones(1)}, {"rediffuse": "[1"}),
    "other words": lambda marker: save({"a": torch.ones(1)}, {"rediffuse": '{"step": 3}'}),
    "a pickle": lambda marker: pickle.dumps(Marked(marker)),
    "a torch file": lambda marker: torch_file(marker),
}


def with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def torch_file(marker: Path) -> bytes:
    path = marker.with_suffix(".pt")
    torch.save({"a": Marked(marker)}, path)
    return path.read_bytes()


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_that_is_no_checkpoint_is_refused_under_its_right_digest_and_never_executed(tmp_path: Path, what: str):
    """Cases 21 and 25."""
    marker, folder = tmp_path / "executed", tmp_path / "run"
    put(folder, FOREIGN[what](marker))
    state = fresh()
    before = values(state)
    with pytest.raises(UserError, match=r"no checkpoint in .* can be used"):
        CheckpointFolder(folder, PARTS).load(state)
    assert (state.step, marker.exists()) == (0, False)
    assert same(values(state), before)


def test_where_no_checkpoint_is_usable_training_stops_and_starts_over_only_when_asked(tmp_path: Path):
    """Case 22."""
    with CheckpointFolder(tmp_path).locked():
        run_fit(tmp_path)
    for step, path in slots(tmp_path):
        path.write_bytes(b"half" * step)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("step-*")}
    assert len(kept) == 2
    with pytest.raises(UserError) as raised:
        run_fit(tmp_path)
    message = str(raised.value)
    assert (raised.value.exit_code, "\n" in message) == (2, False)
    assert f"no checkpoint in {tmp_path} can be used" in message
    assert all(name in message for name in kept)
    assert "`make clear-states`" in message
    assert {path.name: path.read_bytes() for path in tmp_path.glob("step-*")} == kept
    with CheckpointFolder(tmp_path).locked():
        CheckpointFolder(tmp_path).clear()
    state, _ = run_fit(tmp_path)
    assert state.step == 12


def altered(
    folder: Path, change: Callable[[dict[str, Tensor]], object], snapshots: Mapping[str, str] | None = None
) -> None:
    """A checkpoint of step 3, whole and with the right digest, of changed tensors."""
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(trained(3)).items()}
    change(tensors)
    checkpoint_file.write(folder, Content(3, fingerprint(PARTS), snapshots or {}, "{}"), tensors)


STEM = "weights.denoiser.network.stem.weight"


def reshaped(tensors: dict[str, Tensor]) -> None:
    tensors[STEM] = torch.zeros(16, 1, 3, 3)


def wider(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensors[name] = tensor.new_zeros((2, *tensor.shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reshaped, rf"of another model: {STEM} is \[16, 1, 3, 3\] float32, not \[8, 1, 3, 3\] float32$"),
        (lambda tensors: tensors.pop(STEM), f"of another model: {STEM} is missing$"),
        (lambda tensors: tensors.update(more=torch.ones(1)), "of another model: more belongs to none of its tensors$"),
        (lambda tensors: tensors.update({STEM: tensors[STEM].double()}), "is .* float64, not .* float32$"),
        (lambda tensors: tensors.pop(STEM.replace("weights", "optimizer.exp_avg_sq")), "exp_avg_sq.* is missing$"),
        (wider, r"of another model: .*, .*, .*, and \d{3} more$"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused_with_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Tensor]], object], message: str
):
    """Case 23."""
    checkpoints = saved(tmp_path, 2)
    altered(tmp_path, change)
    state = fresh()
    assert checkpoints.load(state) == {"note": 2}
    assert same(values(state), values(trained(2)))
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


@pytest.mark.parametrize("name", ["../../x", "/dev/null", "snapshots/x"])
def test_a_checkpoint_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str):
    """Case 21: what a file says is no path to follow, though its digest is right."""
    run, outside = tmp_path / "run", tmp_path / "run" / "snapshots" / name
    saved(run, 2)
    if not outside.exists():
        outside.parent.mkdir(parents=True, exist_ok=True)
        outside.write_bytes(b"")
    altered(run, lambda tensors: None, {name: hashlib.sha256(b"").hexdigest()})
    assert CheckpointFolder(run, PARTS).load(fresh()) == {"note": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (STEM, float("nan")),
        (STEM.replace("weights.denoiser", "average"), float("inf")),
        ("optimizer.exp_avg", -float("inf")),
    ],
)
def test_a_checkpoint_with_what_is_no_number_is_refused(tmp_path: Path, name: str, value: float):
    """Case 24: in weights, averages and moments."""

    def break_one(tensors: dict[str, Tensor]) -> None:
        full = next(each for each in tensors if each.startswith(name))
        tensors[full].view(-1)[-1] = value

    checkpoints = saved(tmp_path, 2)
    altered(tmp_path, break_one)
    state = fresh()
    assert checkpoints.load(state) == {"note": 2}
    slots(tmp_path)[1][1].unlink()
    with pytest.raises(UserError, match="holds NaN or infinity"):
        checkpoints.load(state)
    assert same(values(state), values(trained(2)))
