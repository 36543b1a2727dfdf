"""Names of a user's data as figures show them."""

from collections.abc import Sequence

from rediffuse.evaluation.report.names import printable

LONGEST = 18


def label(name: str) -> str:
    """A name with what can't be printed as escapes, cut where it is longer than a figure has room for.

    It is plain text: give it to matplotlib with parse_math=False, for which a $ begins a formula otherwise.
    """
    plain = printable(name)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def labels(names: Sequence[str]) -> list[str]:
    """Names for an axis."""
    return [label(name) for name in names]
