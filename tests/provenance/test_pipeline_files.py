from collections.abc import Callable

from rediffuse.provenance.pipeline import locked_outs, stage_files, upstream
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
