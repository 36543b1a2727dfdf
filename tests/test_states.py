"""The list of unfinished trainings, and their removal."""

import os
import sys
import time
from pathlib import Path

import pytest

from rediffuse import files, state_folder, states
from rediffuse.workspace import Workspace

DAY = 24 * 60 * 60
PARTS = {
    "model": {"network": {"name": "unet"}, "preset": "edm"},
    "train": {"lr": 0.002, "steps": 2000, "batch_size": 128},
    "seed": 7,
}


def unfinished(state: Path, name: str, *steps: int, days: float = 0, mebibytes: int = 1) -> Path:
    """A state with checkpoints of these steps, last written so many days ago."""
    path = state / "train" / (name * 64)
    path.mkdir(parents=True)
    (path / "lock").touch()
    files.write_json(path / "fingerprint.json", PARTS)
    for step in steps:
        (path / f"step-{step:08d}-{'0' * 64}.safetensors").write_bytes(bytes(mebibytes << 20))
    for each in path.iterdir():
        os.utime(each, (time.time() - days * DAY,) * 2)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command in a working folder: arguments -> the lines it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def command(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["states", *arguments])
        states.main()
        return capsys.readouterr().out.splitlines()

    return command


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return Workspace.at(tmp_path).state


def test_each_state_is_a_line_and_what_else_is_kept_another(run, state: Path):
    unfinished(state, "a", 10, 20, days=3)
    held = unfinished(state, "b", days=1)
    (held / "fingerprint.json").write_text("{")
    (state / "clean" / "looks").mkdir(parents=True)
    (state / "clean" / "looks" / "x").write_bytes(bytes(3 << 19))
    with state_folder.locked(held):
        (head, second, first, other) = run()
    assert head.split()[:3] == ["training", "step", "MiB"]
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * DAY))
    assert first.split() == [
        *("a" * 12, "20", "2.0", day, first.split()[4]),
        *["unet,", "preset", "edm,", "lr", "0.002,", "steps", "2000,", "batch", "128,", "seed", "7"],
    ]
    assert second.split()[:3] == ["b" * 12, "-", "0.0"]
    assert second.split()[-3:] == ["in", "use", "?"]
    assert other == "also kept: clean, 1.5 MiB"


def test_only_what_nobody_holds_is_removed(run, state: Path):
    gone, held = unfinished(state, "a", 10), unfinished(state, "b", 20)
    (state / "train" / ".removed-9-x").mkdir()
    with state_folder.locked(held):
        lines = run("--clear")
    assert lines[:2] == [f"removed {'a' * 12}, step 10, 1.0 MiB", f"in use  {'b' * 12}"]
    assert list((state / "train").iterdir()) == [held]
    assert not gone.exists()
    assert run("--clear")[-1] == "no unfinished training"


@pytest.mark.parametrize(("days", "left"), [("30", {"a" * 64}), ("1", set()), ("90", {"a" * 64, "b" * 64})])
def test_only_what_is_older_is_removed_when_asked(run, state: Path, days: str, left: set[str]):
    unfinished(state, "a", 10, days=20)
    unfinished(state, "b", 10, days=40)
    run("--clear", "--older-than", days)
    assert {path.name for path in (state / "train").iterdir()} == left


def test_where_nothing_is_kept_it_says_so(run):
    assert run() == run("--clear") == ["no unfinished training"]


def test_days_below_nothing_are_refused(run):
    with pytest.raises(SystemExit) as raised:
        run("--clear", "--older-than", "-1")
    assert raised.value.code == 2
