"""Files are written whole or not at all, and never in place."""

import os
from pathlib import Path

import pytest

from rediffuse import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "out.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_bytes_are_on_the_disk_before_their_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, fsync, seen = tmp_path / "a", os.fsync, []

    def spy(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink(), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    files.write_bytes(path, b"new")
    assert seen == [(tmp_path / f".{os.getpid()}.a", False), (tmp_path, True)]


def test_a_hard_link_is_replaced_and_the_file_behind_it_kept(tmp_path: Path):
    cached, out = tmp_path / "cache", tmp_path / "out"
    cached.write_text("cached")
    cached.chmod(0o444)
    out.hardlink_to(cached)
    files.write_bytes(out, b"new")
    assert out.read_text() == "new"
    assert cached.read_text() == "cached"


def test_json_is_the_same_bytes_for_the_same_value(tmp_path: Path):
    files.write_json(tmp_path / "a", {"x": 1, "y": [0.1, "ü"]})
    files.write_json(tmp_path / "b", {"y": [0.1, "ü"], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nan_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "a", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_digests_are_those_of_the_bytes(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.md5(tmp_path / "a") == "900150983cd24fb0d6963f7d28e17f72"
    assert files.sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")
