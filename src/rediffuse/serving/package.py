"""A model and its way of sampling as files of MLflow's: weights as safetensors, settings as JSON, the code beside them.

Nothing in the folder is a pickle. It holds the code of rediffuse that sampled, so that it loads, and gives the same
pixels, where no or another rediffuse is installed; what else that code imports is pinned.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

import rediffuse
from rediffuse import files
from rediffuse.model import load_model, save_model
from rediffuse.params import RuntimeParams, SampleParams
from rediffuse.snapshots import asked_average, asked_reference
from rediffuse.workspace import Workspace

WEIGHTS, REFERENCE, SETTINGS = "denoiser.safetensors", "reference.safetensors", "sampling.json"
CARD = "model_card.md"

REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "torch",
)
"""The distributions that `rediffuse.serving.answers` imports, directly or not, beside what they themselves require."""


def write_parts(folder: Path, workspace: Workspace, sample: SampleParams, runtime: RuntimeParams) -> None:
    """Write the weights that sampling uses, and its settings, into `folder`.

    WEIGHTS are the trained model's or, with `sample.ema_length`, the average of that length. REFERENCE is there where
    guidance is by a snapshot. SETTINGS hold the sections `sample` and `runtime`; where a GPU was asked for by name,
    a machine without one may answer too.

    Raises:
        UserError: the model or the snapshots are missing.
    """
    cpu = torch.device("cpu")
    if average := asked_average(workspace.snapshots, sample, cpu):
        save_model(folder / WEIGHTS, average.description, average.denoiser)
    else:
        shutil.copyfile(workspace.denoiser, folder / WEIGHTS)
    if reference := asked_reference(workspace.snapshots, sample, cpu):
        save_model(folder / REFERENCE, reference.description, reference.denoiser)
    anywhere = runtime.model_copy(update={"device": "auto" if runtime.device == "cuda" else runtime.device})
    settings = {"sample": sample.model_dump(mode="json"), "runtime": anywhere.model_dump(mode="json")}
    files.write_json(folder / SETTINGS, settings)


def write_package(folder: Path, workspace: Workspace, sample: SampleParams, runtime: RuntimeParams) -> None:
    """Write the model as `mlflow.pyfunc.load_model` and `mlflow models serve` take it, and its CARD, into a new folder.

    Raises:
        UserError: the model or the snapshots are missing.
    """
    # Here, because it takes seconds, and a model that is not registered needs none of it.
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    classes = load_model(workspace.denoiser, torch.device("cpu")).classes
    # Models without classes take no label, and the others take one or choose.
    labels = [ColSpec("string", "label", required=False)] if classes else []
    columns = [*labels, ColSpec("long", "seed"), ColSpec("long", "index", required=False)]
    example = {"seed": [sample.seed], "index": [0]} | ({"label": [classes[0]]} if classes else {})
    with tempfile.TemporaryDirectory() as parts:
        write_parts(Path(parts), workspace, sample, runtime)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("mlflow_model.py")),
            artifacts={path.stem: str(path) for path in sorted(Path(parts).iterdir())},
            code_paths=[str(Path(rediffuse.__file__).parent)],
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            signature=ModelSignature(Schema(columns), Schema([ColSpec("binary", "png")])),
            input_example=pd.DataFrame(example)[[column.name for column in columns if column.name in example]],
            metadata={"classes": json.dumps(list(classes))},
        )
    if workspace.model_card.exists():
        shutil.copyfile(workspace.model_card, folder / CARD)
