"""What a sample is asked to be."""

from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -1


@dataclass(frozen=True)
class Condition:
    """The condition of a batch; a part that is None is absent for the whole batch.

    Args:
        labels: B class indices, int64; NO_LABEL where an example has none.
        image: B×C×h×w, a picture to condition on, of any size; zeros where an example has none.
    """

    labels: Tensor | None = None
    image: Tensor | None = None

    def drop(self, mask: Tensor) -> "Condition":
        """Without the condition of the examples where `mask` (B, bool) is true, each by itself."""
        return Condition(
            labels=None if self.labels is None else self.labels.masked_fill(mask, NO_LABEL),
            image=None if self.image is None else self.image.masked_fill(mask[:, None, None, None], 0),
        )

    def null(self) -> "Condition":
        """The same batch without any condition."""
        return Condition(
            labels=None if self.labels is None else torch.full_like(self.labels, NO_LABEL),
            image=None if self.image is None else torch.zeros_like(self.image),
        )

    def concatenate(self, other: "Condition") -> "Condition":
        """One batch of this one's examples and then `other`'s; both hold the same parts."""
        return Condition(labels=_join(self.labels, other.labels), image=_join(self.image, other.image))


def _join(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        if first is not second:
            raise ValueError("one condition has a part that the other lacks")
        return None
    return torch.cat([first, second])
