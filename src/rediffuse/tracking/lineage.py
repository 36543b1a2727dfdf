"""What a run was made from and what it made: the data sets with their digests, the weights as a LoggedModel."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models.utils import get_external_mlflow_model_spec

from rediffuse.tracking.records import Data, Weights

if TYPE_CHECKING:
    from rediffuse.tracking.mlflow_run import MlflowRun

MODEL = "denoiser"


def log_data(run: "MlflowRun", data: Data) -> None:
    """Log the three splits as data set inputs, with the contexts train, val and test, unless they are there."""
    logged = {entry.dataset.name for entry in run.entity().inputs.dataset_inputs if entry.dataset.digest == data.digest}
    source, profile = json.dumps(data.files), json.dumps(data.card)
    inputs = [
        DatasetInput(
            Dataset(name, data.digest, source_type="local", source=source, profile=profile),
            [InputTag("mlflow.data.context", context)],
        )
        for context in ("train", "val", "test")
        if (name := f"{data.source}-{context}") not in logged
    ]
    if inputs:
        run.store.client.log_inputs(run.id, inputs)


def log_model(run: "MlflowRun", weights: Weights) -> str:
    """The id of the LoggedModel that stands for the weights, made on first use.

    MLflow gets no copy of them: the tags name the file, and the MD5 under which DVC's cache and remotes keep it.
    """
    client = run.store.client
    model = find_model(run, weights.md5) or client.create_logged_model(
        run.store.experiment_id,
        name=MODEL,
        source_run_id=run.id,
        tags={
            "path": weights.path,
            "md5": weights.md5,
            "sha256": weights.sha256,
            "mlflow.model.isExternal": "true",
        },
    )
    # READY comes last: a model that is not was left in the making.
    if model.status != LoggedModelStatus.READY:
        # The registry takes no model without an MLmodel file, also not one whose weights lie elsewhere.
        with tempfile.TemporaryDirectory() as folder:
            get_external_mlflow_model_spec(model).save(str(Path(folder) / "MLmodel"))
            client.log_model_artifacts(model.model_id, folder)
        if model.model_id not in {output.model_id for output in run.entity().outputs.model_outputs}:
            client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def find_model(run: "MlflowRun", md5: str) -> LoggedModel | None:
    """The run's LoggedModel of the weights with this MD5."""
    # A filter on tags would be shorter, but a run has one model or two.
    for known in run.store.client.search_logged_models([run.store.experiment_id], f"source_run_id = '{run.id}'"):
        if known.name == MODEL and known.tags.get("md5") == md5:
            return known
    return None
