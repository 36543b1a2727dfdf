"""A folder that one process at a time may have, and that goes as a whole."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from rediffuse import state_folder
from rediffuse.errors import TryAgainError, UserError


def test_a_held_folder_is_refused_and_a_left_one_is_not(tmp_path: Path):
    path = tmp_path / "a" / "run"
    assert not state_folder.in_use(path)
    with state_folder.locked(path):
        assert state_folder.in_use(path)
        with pytest.raises(TryAgainError, match="another process is training this very run"), state_folder.locked(path):
            pass
    assert not state_folder.in_use(path)
    with state_folder.locked(path):
        pass


def test_looking_whether_it_is_in_use_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who looks has the lock for an instant; who wants it tries again."""
    path = tmp_path / "run"
    with state_folder.locked(path):
        pass
    looking = os.open(path / state_folder.LOCK, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(state_folder.time, "sleep", lambda _: os.close(looking))
    with state_folder.locked(path):
        assert state_folder.in_use(path)


def test_a_lock_on_a_folder_that_was_removed_meanwhile_is_not_taken_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another process finishes and removes the folder between our opening of the lock file and our flock."""
    path, flock = tmp_path / "run", state_folder.fcntl.flock
    with state_folder.locked(path):
        (path / "state").touch()

    def removed_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(state_folder.fcntl, "flock", flock)
        with state_folder.locked(path):
            state_folder.remove(path)
        flock(descriptor, operation)

    monkeypatch.setattr(state_folder.fcntl, "flock", removed_first)
    with state_folder.locked(path):
        assert state_folder.in_use(path)
        assert [each.name for each in path.iterdir()] == [state_folder.LOCK]
        with pytest.raises(TryAgainError), state_folder.locked(path):
            pass


def test_a_removal_takes_all_and_what_a_killed_one_left(tmp_path: Path):
    path = tmp_path / "run"
    # Also by a process of the same number, as in containers.
    for leftover in (".removed-1-other", f".removed-{os.getpid()}-run"):
        (tmp_path / leftover / "snapshots").mkdir(parents=True)
    with state_folder.locked(path):
        (path / "snapshots").mkdir()
        (path / "snapshots" / "a").touch()
        state_folder.remove(path)
        # While it is held: a newcomer has a folder of its own.
        with state_folder.locked(path):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["run"]
    assert [each.name for each in path.iterdir()] == [state_folder.LOCK]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, UserError),
        (errno.EACCES, UserError),
        (errno.EPERM, UserError),
        (errno.ENOSPC, TryAgainError),
        (errno.EDQUOT, TryAgainError),
        (errno.EIO, TryAgainError),
    ],
)
@pytest.mark.parametrize("where", ["folder", "file"])
def test_what_can_not_be_written_is_one_line_of_the_user_or_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], where: str
):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((Path, "mkdir") if where == "folder" else (Path, "write_bytes")), fail)
    with pytest.raises(kind, match=f"{tmp_path} can't be written: {os.strerror(number)}"):
        state_folder.check_writable(tmp_path)
    if where == "folder":
        with pytest.raises(kind, match=os.strerror(number)), state_folder.locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
