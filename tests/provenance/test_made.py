"""What made the outs of a stage is found again by the outs."""

from pathlib import Path
from typing import Any

import pytest

from rediffuse import files
from rediffuse.provenance import environment, made
from rediffuse.provenance.digests import file_md5, out_md5
from rediffuse.workspace import Workspace

DAG = "stages:\n  train:\n    cmd: none\n    outs: [model, snapshots]\n    metrics: [{train.json: {cache: false}}]\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(environment, "_noted", {"device": "cpu"})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "dvc.yaml").write_text(DAG)
    return Workspace(root=tmp_path / "root", home=tmp_path / "home")


def write_outs(workspace: Workspace, text: str) -> dict[str, str]:
    """The outs of the stage, and their MD5s."""
    (workspace.root / "snapshots").mkdir(exist_ok=True)
    for name in ("model", "snapshots/1", "train.json"):
        (workspace.root / name).write_text(text)
    return {name: str(out_md5(workspace.root / name)) for name in ("model", "snapshots", "train.json")}


def test_outs_that_differ_have_records_of_their_own_and_equal_ones_the_newest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    first = write_outs(workspace, "first")
    made.write_record(workspace, "train")
    second = write_outs(workspace, "second")
    environment.note({"device": "cuda"})
    made.write_record(workspace, "train")

    def device(outs: dict[str, str]) -> Any:
        return (made.read_environment(workspace, "train", outs) or {}).get("device")

    assert (device(first), device(second)) == ("cpu", "cuda")
    assert made.read_environment(workspace, "train", first | {"model": second["model"]}) is None
    write_outs(workspace, "first")
    made.write_record(workspace, "train")
    assert device(first) == "cuda"
    assert len(list((workspace.home / ".pipeline" / "made" / "train").iterdir())) == 2
    record = files.read_json(made.record_path(workspace, "train", first))
    assert (record["stage"], record["outs"], record["commit"]) == ("train", first, None)


def full_disk(workspace: Workspace, _: pytest.MonkeyPatch) -> None:
    workspace.home.write_text("no folder")


def half_an_edit(workspace: Workspace, _: pytest.MonkeyPatch) -> None:
    workspace.pipeline.write_text("stages:\n  train: {cmd: [")


def unreadable_outs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Path) -> str:
        raise PermissionError(13, "Permission denied", "model")

    monkeypatch.setattr(made, "out_md5", gone)


def bug(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> dict[str, str]:
        raise KeyError

    monkeypatch.setattr(made, "environment", broken)


@pytest.mark.parametrize("broken", [full_disk, half_an_edit, unreadable_outs, bug])
def test_a_record_that_cannot_be_written_takes_no_result_away(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, broken: Any
):
    write_outs(workspace, "first")
    broken(workspace, monkeypatch)
    made.write_record(workspace, "train")
    err = capsys.readouterr().err
    assert err.startswith("warning: what made the outs of stage train is not noted: ")
    assert err.count("\n") == 1


def test_a_stage_that_dvc_yaml_does_not_know_has_no_record(workspace: Workspace):
    made.write_record(workspace, "nothing")
    assert not workspace.home.exists()


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("first")
    before = file_md5(path)
    files.write_bytes(path, b"other")
    assert file_md5(path) == files.md5(path) != before
