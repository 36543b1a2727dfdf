import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rediffuse.errors import UserError
from rediffuse.workspace import Workspace
from stages.prepare import prepare
from tests.data.planted import ROOT, contents, idx_pair, image_file, params_with, pixels


def raw_folder(root: Path) -> Workspace:
    for i in range(8):
        image_file(root / "raw" / ("cat" if i % 2 else "dog") / f"{i}.png", i)
    return Workspace.at(root)


def test_prepare_writes_the_same_bytes_again_and_in_another_folder(tmp_path: Path) -> None:
    params = params_with(prepare__shard_rows=3)
    here, there = raw_folder(tmp_path / "here"), raw_folder(tmp_path / "a" / "far" / "folder")
    prepare(params, here)
    first = contents(here.prepared) | contents(here.root / "metrics")
    prepare(params, here)
    assert contents(here.prepared) | contents(here.root / "metrics") == first
    prepare(params, there)
    assert contents(there.prepared) | contents(there.root / "metrics") == first
    assert len(first) == 5
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


@pytest.mark.parametrize("source", ["digits", "idx", "folder"])
def test_prepare_counts_what_each_source_holds(tmp_path: Path, source: str) -> None:
    workspace = raw_folder(tmp_path)
    idx_pair(tmp_path / "raw", "train-", np.stack([pixels(i, channels=1) for i in range(5)]), [0, 1, 2, 1, 0])
    metrics = prepare(params_with(prepare__source=source), workspace)
    expected = {"digits": (1797, 10, 18), "idx": (5, 3, 1), "folder": (8, 2, 1)}[source]
    assert (metrics["rows"], metrics["classes"], metrics["shards"]) == expected
    assert json.loads(workspace.metrics("prepare").read_text()) == metrics
    assert json.loads((workspace.prepared / "manifest.json").read_text())["source"] == source


def test_a_missing_folder_is_one_line_and_leaves_the_earlier_shards(tmp_path: Path) -> None:
    workspace = raw_folder(tmp_path)
    prepare(params_with(), workspace)
    before = contents(tmp_path)
    for source in ("idx", "folder"):
        with pytest.raises(UserError, match=r"^prepare\.path: the folder \S+/nowhere is missing; .+$"):
            prepare(params_with(prepare__source=source, prepare__path="nowhere"), workspace)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stage", ["prepare", "clean", "split"])
def test_the_data_stages_do_not_import_torch(stage: str) -> None:
    code = f"import stages.{stage}, rediffuse.data.dataset, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
