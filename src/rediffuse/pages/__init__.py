"""HTML pages as single files: everything inline, nothing fetched, no script, readable on light and on dark screens."""

import base64
import re
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Reading:
    """A row of a page's table of scores: macro `readings` of parts.html.

    Args:
        name: of the score.
        value, floor: as text; floor is empty where there is none.
        words: what the two say.
        good: whether real images score no better, within the spread; None where the question has no answer.
        interval, floor_interval: where value and floor may lie, as text; empty where it is not known.
    """

    name: str
    value: str
    floor: str
    words: str
    good: bool | None
    interval: str = ""
    floor_interval: str = ""


def templates(package: str) -> Environment:
    """The HTML templates in the folder of a package, and below them the ones of this folder: base, style and parts.

    Filters: inline (the bytes of a PNG or JPEG as an address), breakable (a long name, that may go on in
    the next line behind a dot or an underscore).
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, ".") for name in (package, __name__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = _data_address
    environment.filters["breakable"] = _breakable
    return environment


def number(value: float) -> str:
    """Three significant digits, without an exponent where it is avoidable."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _breakable(text: str) -> Markup:
    # Between letters only: 0.9 stays whole.
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[A-Za-z][._])(?=[A-Za-z])", text))


def _data_address(image: bytes) -> Markup:
    kind = next(kind for signature, kind in _SIGNATURES.items() if image.startswith(signature))
    return Markup(f"data:image/{kind};base64,") + base64.b64encode(image).decode()
