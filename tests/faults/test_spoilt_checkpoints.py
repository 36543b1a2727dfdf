"""Checkpoints that are spoilt, or none at all: acceptance cases 20 to 25."""

import hashlib
import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from rediffuse.errors import UserError
from rediffuse.training import checkpoint_file
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.checkpoint_file import Content, slots
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.tensors import tensors_of
from tests.training.test_checkpoint import PARTS, same, saved, steps_in, trained, values
from tests.training.test_training import fresh, run_fit


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
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(trained(3))}
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
