"""What a run was made from and what it made: the data sets with their digests, the weights as a LoggedModel."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput
from mlflow.models.utils import get_external_mlflow_model_spec

from rediffuse import files

if TYPE_CHECKING:
    from rediffuse.tracking.run import TrackedRun

MODEL = "denoiser"


def log_data(run: "TrackedRun") -> None:
    """Log the three splits as data set inputs, with the contexts train, val and test.

    A digest is the beginning of the cleaned data's and the beginning of the split's: it changes with either.
    """
    workspace = run.workspace
    if not (workspace.card.exists() and workspace.split.exists()):
        return
    card = files.read_json(workspace.card)
    digest = f"{card['digest'][:16]}-{files.md5(workspace.split)[:16]}"
    source = {path.name: path.relative_to(workspace.root).as_posix() for path in (workspace.examples, workspace.split)}
    logged = {entry.dataset.name for entry in run.entity().inputs.dataset_inputs if entry.dataset.digest == digest}
    inputs = [
        DatasetInput(
            Dataset(name, digest, source_type="local", source=json.dumps(source), profile=json.dumps(card)),
            [InputTag("mlflow.data.context", context)],
        )
        for context in ("train", "val", "test")
        if (name := f"{card['source']}-{context}") not in logged
    ]
    if inputs:
        run.store.client.log_inputs(run.id, inputs)


def log_model(run: "TrackedRun") -> str | None:
    """The id of the LoggedModel that stands for the weights, made on first use; None where there are no weights.

    MLflow gets no copy of them: the tags name the file, and the MD5 under which DVC's cache and remotes keep it.
    """
    weights = run.workspace.denoiser
    if not weights.exists():
        return None
    md5 = files.md5(weights)
    client = run.store.client
    # A filter on tags would be shorter, but a run has one model or two.
    for known in client.search_logged_models([run.store.experiment_id], f"source_run_id = '{run.id}'"):
        if known.name == MODEL and known.tags.get("md5") == md5:
            return str(known.model_id)
    model = client.create_logged_model(
        run.store.experiment_id,
        name=MODEL,
        source_run_id=run.id,
        tags={
            "path": weights.relative_to(run.workspace.root).as_posix(),
            "md5": md5,
            "sha256": files.sha256(weights),
            "mlflow.model.isExternal": "true",
        },
    )
    # The registry takes no model without an MLmodel file, also not one whose weights lie elsewhere.
    with tempfile.TemporaryDirectory() as folder:
        get_external_mlflow_model_spec(model).save(str(Path(folder) / "MLmodel"))
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)
