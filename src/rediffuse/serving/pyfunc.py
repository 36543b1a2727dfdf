"""The registered model in MLflow's form: a table of seeds, indices and labels in, a table of PNG images out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import Image

from rediffuse.prompts import Term
from rediffuse.serving.answers import Answers
from rediffuse.serving.wanted import Origin, Wanted


class ImageModel(PythonModel):  # type: ignore[misc]
    """Answers each row (seed, and if wanted index and label) with a PNG of that image.

    Without an index it is image 0 of the seed; without a label, the class that the stage `sample` gives that index.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read weights and settings from the artifacts that `package.write_package` names."""
        artifacts = {name: Path(path) for name, path in context.artifacts.items()}
        self._answers = Answers.load(artifacts["sampling"], artifacts["denoiser"], artifacts.get("reference"))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """The column `png`, a row for each of the input.

        Raises:
            MlflowException: a request that the model can't answer (a server tells it as 400).
        """
        try:
            images = self._answers.images(
                [_wanted(self._answers, row) for row in model_input.to_dict(orient="records")]
            )
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame({"png": [_png(image) for image in images]})


def _wanted(answers: Answers, row: dict[Any, Any]) -> Wanted:
    given = {str(name): value for name, value in row.items() if not pd.isna(value)}
    index = int(given.get("index", 0))
    label = given.get("label") or answers.label_at(index)
    return Wanted((Term(label),) if label else (), Origin(int(given["seed"]), index), answers.settings)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
