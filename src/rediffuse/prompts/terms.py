"""What an image is drawn towards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A class, and how much.

    Args:
        label: a class of the model.
        weight: w_i of `diffusion.Composition`; below 0: away from it.
    """

    label: str
    weight: float = 1.0
