import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rediffuse.data.shards import read_manifest
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace
from stages.check import check
from stages.prepare import prepare
from tests.data.planted import ROOT, contents, idx_pair, image_file, params_with, pixels


def raw_folder(root: Path) -> Workspace:
    for i in range(8):
        image_file(root / "raw" / ("cat" if i % 2 else "dog") / f"{i}.png", i)
    return Workspace.at(root)


def test_prepare_writes_the_same_bytes_again_and_in_another_folder(tmp_path: Path) -> None:
    params = params_with(prepare__shard_rows=1)
    here, there = raw_folder(tmp_path / "here"), raw_folder(tmp_path / "a" / "far" / "folder")
    prepare(params, here)
    first = contents(here.prepared) | contents(here.root / "metrics")
    prepare(params, here)
    assert contents(here.prepared) | contents(here.root / "metrics") == first
    prepare(params, there)
    assert contents(there.prepared) | contents(there.root / "metrics") == first
    assert len(first) == 10
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


@pytest.mark.parametrize(("source", "rows", "classes"), [("digits", 1797, 10), ("idx", 5, 3), ("folder", 8, 2)])
def test_prepare_counts_what_each_source_holds(tmp_path: Path, source: str, rows: int, classes: int) -> None:
    workspace = raw_folder(tmp_path)
    idx_pair(tmp_path / "raw", "train-", np.stack([pixels(i, channels=1) for i in range(5)]), [0, 1, 2, 1, 0])
    metrics = prepare(params_with(prepare__source=source), workspace)
    shards = list(workspace.prepared.glob("shard-*.parquet"))
    assert metrics == {"rows": rows, "classes": classes, "shards": len(shards)}
    assert json.loads(workspace.metrics("prepare").read_text()) == metrics
    assert json.loads((workspace.prepared / "manifest.json").read_text())["source"] == source


def test_what_params_say_of_the_data_replaces_what_the_source_knows(tmp_path: Path) -> None:
    prepare(params_with(prepare__source="digits", prepare__about__retrieved="2026-11-23"), Workspace.at(tmp_path))
    about = read_manifest(Workspace.at(tmp_path).prepared).about
    assert (about.licence, about.retrieved) == ("CC BY 4.0", "2026-11-23")
    assert about.origin.startswith("Optical Recognition")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": "folder", "path": "nowhere"}, "prepare.path is nowhere, but there is no such folder; prepare.sou"),
        ({"source": "folder", "path": "raw/cat/1.png"}, "there is no such folder"),
        ({"source": "parquet", "path": "nowhere.parquet"}, "there is no such folder or file"),
        ({"source": "folder", "folder__labels": "table"}, "prepare.folder.table is metadata.csv, but there is no such"),
        ({"source": "torchvision", "path": "fetched"}, "there is no such folder"),
        ({"source": "torchvision", "path": "fetched", "torchvision__download": True}, None),
        (
            {"source": "torchvision", "path": "raw/cat/1.png", "torchvision__download": True},
            "params.yaml: prepare.path is raw/cat/1.png, but that folder can't be made: File exists",
        ),
        ({"source": "torchvision", "path": "raw", "torchvision__name": "CIFAR11"}, "prepare.torchvision.name is 'CIFA"),
        ({"source": "folder", "folder__labels": "table", "folder__table": "t.xlsx"}, "has to end in .csv, .jsonl, .pa"),
        ({"source": "folder", "path": "x" * 300}, "there is no such folder"),
        ({"source": "parquet", "path": "raw/cat/1.png"}, None),
        ({"source": "digits", "path": "nowhere"}, None),
    ],
)
def test_check_looks_for_what_the_source_will_read(
    tmp_path: Path, changes: dict[str, Any], expected: str | None
) -> None:
    workspace = raw_folder(tmp_path)
    params = params_with(**{f"prepare__{name}": value for name, value in changes.items()}, runtime__device="cpu")
    if expected is None:
        check(params, workspace)
        assert workspace.checked.is_file()
    else:
        with pytest.raises(UserError, match=re.escape(expected)):
            check(params, workspace)


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
