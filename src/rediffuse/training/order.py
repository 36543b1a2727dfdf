"""Which rows of a split come when: shuffled passes over it, drawn without replacement."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from rediffuse.randomness import generator


class Stretch(NamedTuple):
    """The places `first` to before `last` of the pass number `epoch`, from 0."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True)
class Order:
    """The rows of any microbatch, as a function of (seed, step, index).

    Args:
        seed: of the order.
        count: rows there are.
        batch_size: examples a step; runs on from one pass into the next.
        microbatch: examples in one forward pass; divides batch_size.
    """

    seed: int
    count: int
    batch_size: int
    microbatch: int

    def rows(self, step: int, index: int) -> np.ndarray:
        """The rows of microbatch `index` of step `step`, both from 0."""
        parts = [self.whole_pass(epoch)[first:last] for epoch, first, last in self.stretches(step, index)]
        return np.concatenate(parts)

    def stretches(self, step: int, index: int) -> Iterator[Stretch]:
        """Where that microbatch lies: in one pass, or where it ends, in that and the next ones."""
        place = step * self.batch_size + index * self.microbatch
        left = self.microbatch
        while left:
            epoch, first = divmod(place, self.count)
            taken = min(left, self.count - first)
            yield Stretch(epoch, first, first + taken)
            place, left = place + taken, left - taken

    def whole_pass(self, epoch: int) -> np.ndarray:
        """All rows in the order of one pass, int64; drawn once for as long as it lasts."""
        return _pass(self.seed, self.count, epoch)


# A batch crosses at most two passes, unless the split is smaller than a batch.
@lru_cache(maxsize=4)
def _pass(seed: int, count: int, epoch: int) -> np.ndarray:
    order: np.ndarray = torch.randperm(count, generator=generator(seed, "train/order", epoch)).numpy()
    return order
