from collections.abc import Callable
from pathlib import Path

import pytest

from rediffuse.errors import UserError
from rediffuse.provenance.pipeline import load_dvc_file, locked_outs, stage_files, upstream
from rediffuse.workspace import Workspace


def test_upstream_follows_files_and_folders_and_leaves_out_what_comes_later(workspace: Workspace) -> None:
    stages = stage_files(workspace)
    assert upstream("evaluate", stages) == ["clean", "split", "survey", "train", "sample"]
    assert upstream("split", stages) == ["clean"]
    assert upstream("clean", stages) == []
    assert upstream("unknown", stages) == []


def test_locked_outs_gives_the_md5_of_the_named_stages_alone(
    workspace: Workspace, written: Callable[[Workspace], Workspace]
) -> None:
    assert locked_outs(written(workspace), ["clean", "split", "train"]) == {
        "data/clean": "aaaa.dir",
        "models/denoiser.safetensors": "bbbb",
    }


def test_what_dvc_takes_in_its_own_files_is_taken(workspace: Workspace) -> None:
    workspace.pipeline.write_text(
        """meta: {date: 2026-01-01}
common: &common {deps: [data], meta: {since: 2026-01-01}}
stages:
  train:
    <<: *common
    cmd: none
    outs: [model]
"""
        + "# long\n" * 60_000
    )
    (train,) = stage_files(workspace).values()
    assert (list(map(str, train.deps)), list(map(str, train.outs))) == (["data"], ["model"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages:\n  a: [\n", "dvc.yaml, line 3: not YAML: "),
        ("a: 2026-13-45\n", "dvc.yaml: not YAML: month must be in 1..12"),
        ("\x00", "dvc.yaml: not YAML: "),
        ("a: " + "[" * 5000, "dvc.yaml: not YAML: "),
    ],
)
def test_a_dvc_yaml_that_is_no_yaml_is_one_line(workspace: Workspace, text: str, message: str) -> None:
    workspace.pipeline.write_text(text)
    with pytest.raises(UserError) as caught:
        stage_files(workspace)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "stages:\n", "stages: [a]\n", "stages: {a: }\n"])
def test_a_dvc_yaml_without_stages_has_none(workspace: Workspace, text: str) -> None:
    workspace.pipeline.write_text(text)
    assert stage_files(workspace) == {}


def test_a_file_read_again_is_as_it_is_now_whatever_a_reader_did_to_it(tmp_path: Path) -> None:
    file = tmp_path / "dvc.lock"
    file.write_text("stages: {train: {outs: []}}")
    load_dvc_file(file)["stages"].clear()
    assert load_dvc_file(file) == {"stages": {"train": {"outs": []}}}
    file.write_text("stages: {}")
    assert load_dvc_file(file) == {"stages": {}}
