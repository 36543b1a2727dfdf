"""Which of the forms that there are a client would rather have."""

from collections.abc import Sequence
from email.message import Message


def preferred(header: str | None, offered: Sequence[str]) -> str | None:
    """The media type of `offered` that an Accept header rates highest, the first of equals (RFC 9110, 12.5.1).

    Args:
        header: None: anything will do.
        offered: the server's favourite first.

    Returns:
        None where the header wants none of them.
    """
    if header is None or not header.strip():
        return offered[0]
    ranges = [_range(part) for part in header.split(",") if part.strip()]
    rated = [(_rating(each, ranges), -place, each) for place, each in enumerate(offered)]
    rating, _, best = max(rated)
    return best if rating > 0 else None


def _rating(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """By the range that names it most closely."""
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        if named := [quality for each, quality in ranges if each == name]:
            return max(named)
    return 0.0


def _range(part: str) -> tuple[str, float]:
    message = Message()
    message["content-type"] = part.strip()
    name = part.partition(";")[0].strip().lower()
    try:
        quality = float(str(message.get_param("q", "1")))
    except ValueError:
        quality = 0.0
    return name, quality if 0 <= quality <= 1 else 0.0


def media_type(content_type: str | None) -> str:
    """What a body is said to be, without parameters and in lower case; empty: nothing is said."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_json(content_type: str | None) -> bool:
    """Whether a body is said to be JSON."""
    name = media_type(content_type)
    return name == "application/json" or (name.startswith("application/") and name.endswith("+json"))
