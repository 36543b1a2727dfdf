"""The words that a model knows."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Words and what they mean.

    Args:
        classes: of the model.
        synonyms: other words for a class.
        frames: words that are true of every image of the model.
    """

    classes: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]]
    frames: tuple[str, ...]
