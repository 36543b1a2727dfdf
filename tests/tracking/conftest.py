import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rediffuse.params import Params, load_params
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the store, the experiment or the checkout of whoever runs pytest."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path) -> Workspace:
    """A workspace with a tiny DAG, whose store has its tables already."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copy(CHECKOUT / "params.yaml", root)
    shutil.copy(empty_database, root / "mlflow.db")
    (root / "dvc.yaml").write_text(
        """stages:
  clean:
    cmd: python -m stages.clean
    outs: [data/clean]
  split:
    cmd: python -m stages.split
    deps: [data/clean/manifest.parquet]
    outs: [data/split/split.parquet]
    metrics: [metrics/split.json: {cache: false}]
  survey:
    cmd: python -m stages.survey
    deps: [data/split/split.parquet]
    outs: [reports/data.html, reports/data]
  train:
    cmd: python -m stages.train
    deps: [data/clean, data/split/split.parquet]
    outs: [models/denoiser.safetensors]
    metrics: [metrics/train.json: {cache: false}]
    plots: [plots/training.csv: {cache: false}, plots/validation.csv: {cache: false}]
  sample:
    cmd: python -m stages.sample
    deps: [models/denoiser.safetensors]
    outs: [samples/grid.png, samples/film.png]
  evaluate:
    cmd: python -m stages.evaluate
    deps: [samples/grid.png, reports/data.html]
    outs: [reports/report.html]
    metrics: [metrics/evaluate.json: {cache: false}]
  register:
    cmd: python -m stages.register
    deps: [metrics/evaluate.json, reports/report.html]
    metrics: [metrics/register.json: {cache: false}]
  other:
    cmd: python -m stages.other
    deps: [reports/report.html]
    outs: [other.txt]
"""
    )
    return Workspace.at(root)


@pytest.fixture
def params(workspace: Workspace) -> Params:
    return load_params(workspace.params)


@pytest.fixture
def runs() -> Callable[[Workspace], list[Any]]:
    """All runs in a workspace's store, newest first, as MLflow tells of them."""

    def read(workspace: Workspace) -> list[Any]:
        from rediffuse.tracking.store import open_store

        store = open_store(workspace)
        return list(store.client.search_runs([store.experiment_id], order_by=["attributes.start_time DESC"]))

    return read


@pytest.fixture
def written() -> Callable[[Workspace], Workspace]:
    """Writes by hand what the stages before and including register leave behind."""

    def write(workspace: Workspace) -> Workspace:
        contents = {
            "data/clean/card.json": f'{{"source": "digits", "digest": "{"0123456789abcdef" * 4}"}}',
            "data/split/split.parquet": "split",
            "metrics/split.json": '{"train": 7}',
            "metrics/train.json": '{"steps": 40, "val_loss": 0.5, "val_loss_ema": 0.25}',
            "metrics/evaluate.json": '{"fidelity": {"fd": 1.5}, "utility": {"cas_accuracy": 0.9}, "n_samples": 8}',
            "metrics/register.json": '{"eligible": true, "conditions": [], "metric": "fidelity.fd", "value": 1.5}',
            "plots/training.csv": "step,loss,lr\n20,0.5,0.001\n40,0.25,0.002\n",
            "plots/validation.csv": "step,val_loss,val_loss_ema\n40,0.5,0.25\n",
            "models/denoiser.safetensors": "weights",
            "samples/grid.png": "grid",
            "samples/film.png": "film",
            "reports/data.html": "data",
            "reports/data/flow.png": "flow",
            "reports/report.html": "report",
            "dvc.lock": """schema: '2.0'
stages:
  clean:
    outs: [{path: data/clean, md5: aaaa.dir, nfiles: 4}]
  survey:
    outs: [{path: reports/data.html, md5: cccc, size: 4}, {path: reports/data, md5: dddd.dir, nfiles: 1}]
  train:
    outs: [{path: models/denoiser.safetensors, md5: bbbb, size: 7}]
  evaluate:
    outs: [{path: reports/report.html, md5: eeee, size: 6}]
  register:
    outs: [{path: metrics/register.json, md5: stale, size: 1}]
  other:
    outs: [{path: other.txt, md5: stale, size: 1}]
""",
        }
        for name, content in contents.items():
            path = workspace.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return workspace

    return write
