"""A model and its way of sampling as files of MLflow's: weights as safetensors, settings as JSON, the code beside them.

Nothing in the folder is a pickle. It holds the code of rediffuse that sampled, so that it loads, and gives the same
pixels, where no or another rediffuse is installed; what else that code imports is pinned.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import rediffuse
from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.model import load_model, save_model
from rediffuse.params import RuntimeParams, SampleParams, Section
from rediffuse.prompts import Vocabulary
from rediffuse.snapshots import asked_average, asked_reference
from rediffuse.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

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
"""The distributions that `rediffuse.serving.pyfunc` imports, directly or not, beside what they themselves require."""

COLUMNS = {
    "prompt": "string",
    "label": "string",
    "seed": "any",
    "index": "any",
    "count": "any",
    "to_seed": "any",
    "share": "any",
}
"""What a row of a request may hold: any of these columns, or none.

The same for a model without classes: MLflow drops a column that it does not know without a word, and the model says
what it can't do. Numbers are of any type: of a column of whole numbers MLflow's server would make 1 of 1.5, and -2^63
of 2^63, where `request.ImageRequest` refuses both.
"""


def why_labelled(label_drop: float) -> str | None:
    """Why a model that was trained with this `train.label_drop` can't go without a label; None where it can.

    Guidance by a snapshot needs no such training, so that `SampleParams.why_not_guided` does not say it.
    """
    if label_drop:
        return None
    return "with train.label_drop 0 the model never learns to go without a label; use train.label_drop above 0"


def write_parts(
    folder: Path,
    workspace: Workspace,
    sample: SampleParams,
    runtime: RuntimeParams,
    prompts: Section | None = None,
    unguided: str | None = None,
    needs_label: str | None = None,
) -> None:
    """Write the weights that sampling uses, and its settings, into `folder`.

    WEIGHTS are the trained model's or, with `sample.ema_length`, the average of that length. REFERENCE is there where
    guidance is by a snapshot. SETTINGS hold the sections `sample`, `runtime` and `prompts`, and both reasons; where a
    GPU was asked for by name, a machine without one may answer too.

    Args:
        sample, runtime: the sections.
        prompts: the section; None: class names are the only words.
        unguided: why the model can't be guided (`SampleParams.why_not_guided`); None: it can.
        needs_label: why it can't go without a label (`why_labelled`); None: it can.

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
    settings = {
        "sample": sample.model_dump(mode="json"),
        "runtime": anywhere.model_dump(mode="json"),
        "prompts": prompts.model_dump(mode="json") if prompts else {},
        "unguided": unguided,
        "needs_label": needs_label,
    }
    files.write_json(folder / SETTINGS, settings)


def write_package(
    folder: Path,
    workspace: Workspace,
    sample: SampleParams,
    runtime: RuntimeParams,
    prompts: Section | None = None,
    unguided: str | None = None,
    needs_label: str | None = None,
) -> None:
    """Write the model as `mlflow.pyfunc.load_model` and `mlflow models serve` take it, and its CARD, into a new folder.

    Args:
        sample, runtime, prompts, unguided, needs_label: as of `write_parts`.

    Raises:
        UserError: the model or the snapshots are missing, or the words are none of a model with such classes.
    """
    # Here, because it takes seconds, and a model that is not registered needs none of it.
    import mlflow.pyfunc
    import pandas as pd

    classes = load_model(workspace.denoiser, torch.device("cpu")).classes
    _check_spoken_of(classes, prompts)
    example = ({"label": [classes[0]]} if classes else {}) | {"seed": [sample.seed], "index": [0]}
    with tempfile.TemporaryDirectory() as parts:
        write_parts(Path(parts), workspace, sample, runtime, prompts, unguided, needs_label)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("mlflow_model.py")),
            artifacts={path.stem: str(path) for path in sorted(Path(parts).iterdir())},
            code_paths=[str(Path(rediffuse.__file__).parent)],
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            signature=signature(sample),
            input_example=pd.DataFrame(example),
            metadata={"classes": json.dumps(list(classes))},
        )
    if workspace.model_card.exists():
        shutil.copyfile(workspace.model_card, folder / CARD)


def _check_spoken_of(classes: tuple[str, ...], prompts: Section | None) -> None:
    try:
        Vocabulary(classes, **(prompts.model_dump() if prompts else {"synonyms": {}, "frames": ()}))
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None


def signature(sample: SampleParams) -> "ModelSignature":
    """What MLflow is told of tables in and out, and of the parameters, with the model's own way of sampling."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    types = {"string": DataType.string, "any": AnyType()}
    return ModelSignature(
        inputs=Schema([ColSpec(types[kind], name, required=False) for name, kind in COLUMNS.items()]),
        outputs=Schema(
            [ColSpec("binary", "png"), ColSpec("string", "prompt"), ColSpec("long", "seed"), ColSpec("long", "index")]
        ),
        params=ParamSchema(
            [
                ParamSpec("prompt", "string", None),
                ParamSpec("label", "string", None),
                ParamSpec("seed", "long", None),
                ParamSpec("count", "long", 1),
                ParamSpec("steps", "long", sample.steps),
                ParamSpec("sampler", "string", sample.sampler),
                ParamSpec("guidance", "double", sample.guidance),
                ParamSpec("temperature", "double", sample.temperature),
            ]
        ),
    )
