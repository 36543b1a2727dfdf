"""What an image is drawn towards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A class that an image is drawn towards, or away from.

    Args:
        label: a class of the model.
        weight: how much, -10 to 10 and not 0; below 0: away from it.
    """

    label: str
    weight: float = 1.0
