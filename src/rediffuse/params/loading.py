"""From the file to the parameters, and every mistake in one line that says what, where and what is allowed."""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rediffuse import yaml12
from rediffuse.errors import UserError
from rediffuse.params.combined import Params
from rediffuse.presets import expand

# What the field, or another program, calls a key here: without case and underscores -> the last part of its name.
_ALIASES: dict[str, tuple[str, ...]] = {
    "batch": ("batch_size",),
    "cfg": ("guidance",),
    "cfgscale": ("guidance",),
    "channels": ("width",),
    "dim": ("width",),
    "emarate": ("ema_decay",),
    "epochs": ("steps",),
    "gpu": ("device",),
    "guidancescale": ("guidance",),
    "learningrate": ("lr",),
    "n": ("count",),
    "numworkers": ("workers", "loaders"),
}


def load_params(path: Path) -> Params:
    """Read and check params.yaml; a null takes the value of `diffusion.preset` or `model.size`, where they have one.

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
    # A key is as long and odd as what was typed.
    key = _short(".".join(str(part) for part in error["loc"]))
    if error["type"] == "extra_forbidden":
        close = suggestions(key)
        return f"{key} is not a known key" + (f"; did you mean {' or '.join(close)}?" if close else "")
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in ("model_type", "dict_type"):
        return f"{key} is {_short(repr(error['input']))}: a mapping of keys is expected"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key} is {_short(repr(error['input']))}: {message}"


def _short(text: str) -> str:
    """A text in one line of at most 80 characters."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return line if len(line) <= 80 else f"{line[:77]}..."


def suggestions(key: str) -> list[str]:
    """The known keys that somebody who typed this one may have meant, three at most, by their dotted names.

    First what has the same name, or the one that this is another word for, in the same section or below it; then the
    same name elsewhere, a like one in the same section, another word's elsewhere, a like one elsewhere. Never a section
    that the key was typed below.
    """
    section, _, name = key.rpartition(".")
    known = [other for other in known_keys() if not key.startswith(f"{other}.")]
    neighbours = [other for other in known if other.rpartition(".")[0] == section]
    below = [other for other in known if section and other.startswith(section.split(".")[0] + ".")]
    inside = [other for other in below if other.startswith(f"{section}.")]
    meant = _ALIASES.get(_plain(name), ())
    return next(
        filter(
            None,
            (
                _closest(name, below, 1.0),
                _named(meant, inside),
                _named(meant, below),
                _closest(name, known, 1.0),
                _closest(name, neighbours, 0.6),
                _named(meant, known),
                _closest(name, below, 0.75),
                _closest(name, known, 0.75),
            ),
        ),
        [],
    )[:3]


def _named(meant: Iterable[str], candidates: Iterable[str]) -> list[str]:
    """The keys whose last part is one of these."""
    return [other for name in meant for other in candidates if other.rpartition(".")[2] == name]


def _closest(name: str, candidates: Iterable[str], cutoff: float) -> list[str]:
    """The keys whose last part is most like a name, and at least so much; case and underscores count for nothing."""
    likeness = {other: _likeness(name, other.rpartition(".")[2]) for other in candidates}
    best = max(likeness.values(), default=0.0)
    return [other for other, value in likeness.items() if value == best >= cutoff]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _plain(one), _plain(other)).ratio()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def known_keys() -> tuple[str, ...]:
    """The dotted name of every parameter."""
    return tuple(_keys(Params, ""))


def _keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        yield prefix + name
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation, f"{prefix}{name}.")
