"""The checkpoints of a training: what is kept, in which order it is written, and what is put back."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.training import checkpoint_file, checkpoint_writer
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.checkpoint_file import slots
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.tensors import MOMENTS, restore, tensors_of
from rediffuse.training.trainer import TrainingState, train
from tests.training.test_training import CPU, examples, fresh, model, train_params

PARTS = {"train": {"lr": 1e-3}, "seed": 0}


def trained(step: int, **more) -> TrainingState:
    """A state after so many steps."""
    ours, params = model(**more), train_params(steps=step, ema_start=1)
    state = TrainingState.new(ours, params)
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=8, microbatch=4, device=CPU)
    for _ in train(state, ours, batches=batches, params=params, seed=0):
        pass
    return state


def saved(folder: Path, *steps: int, **more) -> CheckpointFolder:
    """A folder in which the checkpoints of these steps were written, one after the other."""
    checkpoints = CheckpointFolder(folder, PARTS)
    with checkpoints.locked(), checkpoints.writer() as writer:
        for step in steps:
            writer.save(trained(step, **more), {"note": step})
    return checkpoints


def steps_in(folder: Path) -> list[int]:
    return [step for step, _ in slots(folder)]


def values(state: TrainingState) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors_of(state)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_saved_loaded_and_saved_again_is_the_same_bytes(tmp_path: Path):
    checkpoints = saved(tmp_path / "a", 3)
    state = fresh()
    assert checkpoints.load(state) == {"note": 3}
    again = CheckpointFolder(tmp_path / "b", PARTS)
    with again.locked(), again.writer() as writer:
        writer.save(state, {"note": 3})
    ((_, first),), ((_, second),) = slots(tmp_path / "a"), slots(tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_what_is_put_back_is_what_was_there(tmp_path: Path):
    checkpoints, state, held = saved(tmp_path, 3), fresh(), trained(3)
    checkpoints.load(state)
    assert state.step == 3
    assert same(values(state), values(held))
    assert [value.device for _, value in tensors_of(state)] == [value.device for value in values(held).values()]


def test_a_state_before_its_first_step_has_no_moments_and_is_put_back_without(tmp_path: Path):
    checkpoints, before = CheckpointFolder(tmp_path), values(fresh())
    with checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(fresh(), {})
    state = trained(3)
    assert checkpoints.load(state) == {}
    assert (state.step, len(state.optimizer.state)) == (0, 0)
    assert same(values(state), before)


def test_the_moments_are_those_that_the_optimizer_keeps():
    state = trained(1)
    for parameter in state.trained.parameters():
        kept = state.optimizer.state[parameter]
        assert tuple(kept) == MOMENTS
        assert (kept["step"].shape, kept["step"].dtype) == ((), torch.float32)
        assert all(kept[key].shape == parameter.shape for key in MOMENTS[1:])


def test_the_two_newest_are_kept_and_the_folder_goes_when_all_is_done(tmp_path: Path):
    checkpoints = saved(tmp_path / "run", 1, 2, 3)
    assert steps_in(checkpoints.path) == [3, 2]
    with checkpoints.locked():
        checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_goes_only_after_the_new_one_was_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    read_back = checkpoint_file.reads_back
    monkeypatch.setattr(checkpoint_file, "reads_back", lambda path: seen.append(steps_in(tmp_path)) or read_back(path))
    saved(tmp_path, 1, 2, 3, 4)
    assert seen == [[1], [2, 1], [3, 2, 1], [4, 3, 2]]


def test_a_checkpoint_that_does_not_read_back_is_removed_and_both_older_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    checkpoints = saved(tmp_path, 1, 2)
    rename = Path.replace

    def spoil(self: Path, target: Path) -> Path:
        """A disk that gives back other bytes than it was given, under the name of the right ones."""
        if Path(target).name.startswith("step-"):
            self.write_bytes(b"other bytes")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", spoil)
        saved(tmp_path, 3)
    assert steps_in(tmp_path) == [2, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert "step-00000003-" in line
    assert "does not read back as it was written" in line
    assert line.endswith("the checkpoint of step 2 stays")
    assert checkpoints.load(fresh()) == {"note": 2}


def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Make writing wait: (set when a write has begun, to be set for it to go on)."""
    begun, go_on, write = threading.Event(), threading.Event(), checkpoint_file.write

    def waiting(*given):
        begun.set()
        assert go_on.wait(30)
        return write(*given)

    monkeypatch.setattr(checkpoint_file, "write", waiting)
    return begun, go_on


def test_saving_returns_while_the_write_goes_on_and_later_steps_change_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun, go_on = held_up(monkeypatch)
    checkpoints, state, record = CheckpointFolder(tmp_path), trained(3), {"rows": [1]}
    before = values(state)
    with checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(state, record)
        assert begun.wait(30)
        assert steps_in(tmp_path) == []
        with torch.no_grad():
            for _, tensor in tensors_of(state):
                tensor.zero_()
        state.step = 4
        record["rows"].append(2)
        go_on.set()
    again = fresh()
    assert checkpoints.load(again) == {"rows": [1]}
    assert again.step == 3
    assert same(values(again), before)


def test_a_block_that_ends_by_an_exception_writes_to_the_end_and_keeps_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_):
        raise OSError(28, "No space left on device")

    checkpoints = saved(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt), checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(trained(2), {})
        raise KeyboardInterrupt
    assert steps_in(tmp_path) == [2, 1]
    monkeypatch.setattr(checkpoint_file, "write", full)
    with pytest.raises(KeyboardInterrupt), checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(trained(3), {})
        raise KeyboardInterrupt
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device; the checkpoint of step 2 stays" in line


def test_what_went_wrong_is_raised_once_at_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, broken = checkpoint_file.write, [True]

    def sometimes(*given):
        if broken:
            broken.pop()
            raise OSError(28, "No space left on device")
        return write(*given)

    monkeypatch.setattr(checkpoint_file, "write", sometimes)
    checkpoints = CheckpointFolder(tmp_path)
    with checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(trained(1), {})
        with pytest.raises(TryAgainError, match=r"step 1 could not be written in .*; there is no checkpoint before it"):
            writer.take_snapshot(trained(1), {})
        writer.finish()
        writer.save(trained(2), {})
    assert steps_in(tmp_path) == [2]


def test_where_no_thread_can_be_started_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    checkpoints = saved(tmp_path, 1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    message = "the checkpoint of step 2 could not be written: can't start new thread; the checkpoint of step 1 stays"
    with pytest.raises(TryAgainError, match=message), checkpoints.locked(), checkpoints.writer() as writer:
        # A wait for it would be for ever.
        monkeypatch.setattr(writer._idle, "wait", lambda: writer._idle.is_set() or pytest.fail("waits"))
        writer.save(trained(2), {})


def test_a_snapshot_that_can_not_be_read_is_one_that_is_spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoints = CheckpointFolder(tmp_path, PARTS)
    with checkpoints.locked(), checkpoints.writer() as writer:
        writer.save(trained(1), {"note": 1})
        writer.take_snapshot(trained(2), {"a": 1})
        writer.save(trained(2), {"note": 2})

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sha256", fail)
    assert checkpoints.load(fresh()) == {"note": 1}


def test_what_is_no_number_is_not_written(tmp_path: Path):
    checkpoints, state = saved(tmp_path, 1), trained(2)
    with torch.no_grad():
        state.denoiser.network.stem.weight[0, 0, 0, 0] = float("inf")
    message = r"after step 2 .*stem\.weight .*the checkpoint of step 1 stays"
    with checkpoints.locked(), pytest.raises(UserError, match=message), checkpoints.writer() as writer:
        writer.save(state, {})
    assert steps_in(tmp_path) == [1]


def test_the_checkpoint_lists_the_snapshots_written_before_it_and_after_loading_those_of_before(tmp_path: Path):
    def listed() -> list[str]:
        return list(checkpoint_file.read(slots(tmp_path)[0][1])[0].snapshots)

    first, state = CheckpointFolder(tmp_path), trained(1)
    with first.locked(), first.writer() as writer:
        writer.take_snapshot(state, {"a": 1})
        writer.save(state, {})
        writer.take_snapshot(trained(2), {"a": 1})
    assert listed() == ["step-00000001.safetensors"]
    # It starts from the checkpoint, which knows nothing of the snapshot after it.
    second = CheckpointFolder(tmp_path)
    second.load(state)
    with second.locked(), second.writer() as writer:
        writer.take_snapshot(trained(3), {"a": 1})
        writer.save(trained(3), {})
    assert listed() == ["step-00000001.safetensors", "step-00000003.safetensors"]


def test_a_checkpoint_of_another_fingerprint_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    checkpoints = saved(tmp_path, 1)
    other = CheckpointFolder(tmp_path, PARTS | {"seed": 1})
    with other.locked(), other.writer() as writer:
        writer.save(trained(2), {})
    assert files.read_json(tmp_path / "fingerprint.json") == PARTS | {"seed": 1}
    assert checkpoints.load(fresh()) == {"note": 1}
    assert f"another training, of fingerprint {fingerprint(PARTS | {'seed': 1})[:12]}" in capsys.readouterr().err


def test_what_a_killed_write_left_is_swept_when_the_folder_is_locked(tmp_path: Path):
    checkpoints = saved(tmp_path, 3)
    checkpoints.snapshots.mkdir()
    for leftover in (".123.next.safetensors", ".tmpUvuGOC", "snapshots/.7.step-00000003.safetensors"):
        (tmp_path / leftover).write_bytes(b"half")
    with checkpoints.locked():
        assert not list(tmp_path.rglob(".*"))
    assert steps_in(tmp_path) == [3]


def test_a_second_trainer_of_the_same_run_is_refused(tmp_path: Path):
    folder = CheckpointFolder(tmp_path / "run")
    with folder.locked(), pytest.raises(TryAgainError, match="another process"), folder.locked():
        pass
    with folder.locked():
        pass


@pytest.mark.parametrize(
    "change", [lambda tensors: tensors.popitem(), lambda tensors: tensors.update(new=torch.ones(1))]
)
def test_tensors_that_are_not_the_states_change_nothing_of_it(change: Callable[[dict[str, Tensor]], object]):
    state, tensors = trained(1), values(trained(2))
    before = values(state)
    change(tensors)
    with pytest.raises(ValueError, match="another model"):
        restore(state, tensors)
    assert same(values(state), before)


def test_the_first_write_and_the_ones_after_it_use_the_same_memory(tmp_path: Path):
    checkpoints, state = CheckpointFolder(tmp_path), trained(1)
    writer = checkpoint_writer.CheckpointWriter(tmp_path, checkpoints.snapshots, "", {})
    first = {name: tensor.data_ptr() for name, tensor in writer._copied(tensors_of(state)).items()}
    assert {name: tensor.data_ptr() for name, tensor in writer._copied(tensors_of(state)).items()} == first


def test_the_record_is_json_in_one_metadata_key(tmp_path: Path):
    saved(tmp_path, 1)
    path = slots(tmp_path)[0][1]
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert list(header["__metadata__"]) == ["rediffuse"]
