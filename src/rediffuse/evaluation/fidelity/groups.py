"""Groups of images that a set is left without in turn, to see how far its scores would vary (the jackknife)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MOST = 20


@dataclass(frozen=True)
class Groups:
    """A set of `size` images cut into `count` stretches of equal length, or one longer, in order.

    Stretches, as folds are: sampling lets the labels cycle through the classes, so each stretch shows all of them
    alike. Every twentieth image would be of one class, where there are ten.
    """

    size: int
    count: int

    @classmethod
    def of(cls, size: int) -> "Groups":
        """Twenty groups, or as many as there are images."""
        return cls(size, min(MOST, size))

    @classmethod
    def one(cls, size: int) -> "Groups":
        """The whole set as a single group, where no group has to be left out."""
        return cls(size, 1)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first image of each group, (count,)."""
        starts: NDArray[np.int64] = np.arange(self.count, dtype=np.int64) * self.size // self.count
        return starts

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Images in each group, (count,)."""
        return np.diff(self.starts, append=self.size)

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """The group of each image, (size,)."""
        return np.repeat(np.arange(self.count), self.sizes)
