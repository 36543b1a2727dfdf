"""The registered model in MLflow's form: a table of requests and parameters in, a table of PNG images out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from rediffuse.serving.answers import Answers
from rediffuse.serving.record import png, record_of
from rediffuse.serving.request import parsed, wanted
from rediffuse.serving.wanted import NotAllowedError, Wanted

MOST = 10_000
"""Images that one call may ask for: they are held in memory, and so is their answer."""

_WHOLE = ("seed", "index", "count", "to_seed")
_EXACT = 2**53
"""Whole numbers up to here lose nothing where pandas makes them floats."""


class ImageModel(PythonModel):  # type: ignore[misc]
    """Answers a table of requests with a table of images.

    A row may hold what `package.COLUMNS` names, and is answered with one image or several; a row's own value comes
    before that of `params` (`package.signature`), which holds for all rows. A table without any column is one row.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read weights and settings from the artifacts that `package.write_package` names."""
        artifacts = {name: Path(path) for name, path in context.artifacts.items()}
        self._answers = Answers.load(artifacts["sampling"], artifacts["denoiser"], artifacts.get("reference"))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The images as PNG with their parameters inside, and the prompt, seed and index of each, row by row.

        Raises:
            MlflowException: a request that the model can't answer (a server tells it as 400).
        """
        try:
            asked = _asked(self._answers, model_input, params or {})
            images = self._answers.images(asked)
        except NotAllowedError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        records = [record_of(self._answers, each) for each in asked]
        return pd.DataFrame(
            {
                "png": [png(image, record) for image, record in zip(images, records, strict=True)],
                "prompt": [record.prompt for record in records],
                "seed": pd.Series([record.seed for record in records], dtype="int64"),
                "index": pd.Series([record.index for record in records], dtype="int64"),
            }
        )


def _asked(answers: Answers, table: pd.DataFrame, params: Mapping[str, Any]) -> list[Wanted]:
    images: list[Wanted] = []
    for number, row in enumerate(_rows(table)):
        # What a row says of the subject comes before what the parameters say of it, in whichever words.
        own_subject = {"prompt", "label"} if {"prompt", "label"} & row.keys() else set()
        given = {name: value for name, value in params.items() if value is not None and name not in own_subject}
        try:
            images += wanted(parsed(given | row), answers, MOST)
        except NotAllowedError as error:
            place = f"row {number}: " if len(table) > 1 else ""
            raise NotAllowedError(error.field, f"{place}{error}") from None
        if len(images) > MOST:
            raise NotAllowedError("count", f"count adds up to more than {MOST} images by row {number}; ask for fewer")
    return images


def _rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What each row gives; a missing value is none."""
    if table.columns.empty:
        # MLflow drops the rows that give nothing, where none gives anything.
        yield {}
        return
    for values in table.to_dict(orient="records"):
        given = {str(name): _plain(value) for name, value in values.items() if not _is_missing(value)}
        yield {name: _whole(value) if name in _WHOLE else value for name, value in given.items()}


def _is_missing(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item() if hasattr(value, "item") and pd.api.types.is_scalar(value) else value


def _whole(value: Any) -> Any:
    """A whole number that pandas made a float, because another row has none; what may have lost digits stays a float,
    and is refused.
    """
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT else value
