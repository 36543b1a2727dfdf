"""From the file to the parameters, and every mistake in one line that says what, where and what is allowed."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rediffuse import yaml12
from rediffuse.errors import UserError
from rediffuse.params.combined import Params
from rediffuse.presets import expand


def load_params(path: Path) -> Params:
    """Read and check params.yaml; a key that is null takes the value of `diffusion.preset`, where that has one.

    Raises:
        UserError: a key is unknown, missing, of the wrong type or out of range, or two keys can't go together.
    """
    document = yaml12.load(path)
    if not isinstance(document, dict):
        raise UserError(f"{path.name}: a mapping of sections is expected, not {type(document).__name__}")
    try:
        return Params.model_validate(expand(document))
    except ValidationError as error:
        # A mistyped key is also a missing one: the former says more.
        problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
        first, *others = problems
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{path.name}: {_explain(first)}{more}") from None


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}: the names by which `dvc exp run -S` and MLflow know a parameter."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _explain(error: ErrorDetails) -> str:
    """One problem in one line, by the key's dotted name."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
        return f"{key} is not a known key" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key} is {error['input']!r}: {message}"


def known_keys() -> tuple[str, ...]:
    """The dotted name of every parameter."""
    return tuple(_keys(Params, ""))


def _keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        yield prefix + name
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation, f"{prefix}{name}.")
