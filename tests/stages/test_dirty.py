"""One folder with everything that goes wrong in a real one, through the stages: each file gets its verdict."""

import os
from collections import Counter

import pandas as pd
import pytest

from rediffuse.data.manifest import CHECKS, CONVERSIONS, FAULTS
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.split import split
from tests.data import dirty
from tests.data.planted import params_with

PLANTED = dirty.everything(40)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("dirty")
    dirty.write(root / "raw", PLANTED)
    made, params = Workspace.at(root), params_with(clean__size=32)
    for stage in (prepare, clean, split):
        stage(params, made)
    return made


@pytest.fixture(scope="module")
def kept(workspace: Workspace) -> pd.DataFrame:
    return pd.read_parquet(workspace.manifest).set_index("origin")


@pytest.fixture(scope="module")
def rejected(workspace: Workspace) -> pd.DataFrame:
    return pd.read_parquet(workspace.rejected).set_index("origin")


def written(name: str) -> str:
    """A name as the tables have it: in UTF-8, on one line."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text.replace("\n", "\\n").replace("\t", "\\t")


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: ascii(one.name))
def test_each_file_gets_its_verdict(kept: pd.DataFrame, rejected: pd.DataFrame, one: dirty.Planted) -> None:
    name = written(one.name)
    dropped = one.reason or next((check for check in one.findings if check in ("blank", "duplicate")), None)
    if dropped:
        assert rejected["reason"][name] == dropped
        assert rejected["detail"][name]
    else:
        assert kept["converted"][name] == " ".join(one.conversions)
        assert set(one.findings) <= set(kept["findings"][name].split())


def test_nothing_is_found_where_nothing_was_planted(kept: pd.DataFrame) -> None:
    ordinary = [one.name for one in dirty.ordinary(40)]
    assert set(kept["findings"][ordinary]) == {""}
    assert (kept["group"][ordinary] == kept["id"][ordinary]).all()


def test_every_file_is_counted_once_and_each_case_by_name(workspace: Workspace, rejected: pd.DataFrame) -> None:
    metrics = pd.read_json(workspace.metrics("clean"), typ="series")
    assert metrics["found"] == len(PLANTED) == metrics["kept"] + metrics["quarantined"] + metrics["rejected"]
    planted = Counter(one.reason for one in PLANTED if one.reason)
    reasons = Counter({name: count for name, count in metrics["reasons"].items() if count})
    assert reasons == planted + Counter({"blank": 3, "duplicate": 2})
    conversions = Counter(name for one in PLANTED if not one.findings for name in one.conversions)
    assert {name: count for name, count in metrics["converted"].items() if count} == conversions
    assert set(metrics["reasons"]) == {*FAULTS, *CHECKS}
    assert set(metrics["converted"]) == set(CONVERSIONS)
    assert len(rejected) == metrics["rejected"]
