"""How a prompt is refused: in one line, whatever was typed."""

from collections.abc import Sequence

_LONGEST_SHOWN = 60
_MOST_LISTED = 12


class PromptError(ValueError):
    """A prompt that is not understood: one line that says what was found, at which character (from 1), and what is
    allowed."""


def shown(text: str) -> str:
    """What was typed, in quotes, printable and not too long."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return f"'{line if len(line) <= _LONGEST_SHOWN else f'{line[: _LONGEST_SHOWN - 3]}...'}'"


def listed(names: Sequence[str]) -> str:
    """Names with commas; of very many the first ones, and how many more there are."""
    first = ", ".join(shown(name)[1:-1] for name in names[:_MOST_LISTED])
    return first if len(names) <= _MOST_LISTED else f"{first} and {len(names) - _MOST_LISTED} more"
