"""Sums over the microbatches of a step that are the same bits for any number of processes.

Floating-point sums depend on their order, so it is fixed: by a binary tree over the microbatches, whose left branch
holds the largest power of two that leaves something for the right one. A process sums the largest branches that lie
among its own microbatches; these are exchanged, and summed on up the same tree.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from rediffuse.processes import Processes, wire

Span = tuple[int, int]
"""Microbatches from the first up to, but not with, the second: a branch of the tree."""


Leaf = Callable[[int], list[Tensor]]
"""A microbatch -> its tensors, which the sum may overwrite."""


def split(span: Span) -> tuple[Span, Span]:
    """The two branches of one that holds more than one microbatch."""
    low, high = span
    middle = low + (1 << (high - low - 1).bit_length() - 1)
    return (low, middle), (middle, high)


def branches(whole: Span, part: Span) -> list[Span]:
    """The largest branches of the tree over `whole` that lie in `part`, in order."""
    (low, high), (first, last) = whole, part
    if high <= first or last <= low:
        return []
    if first <= low and high <= last:
        return [whole]
    left, right = split(whole)
    return [*branches(left, part), *branches(right, part)]


def tree_sum(span: Span, leaf: Leaf, known: Mapping[Span, list[Tensor]] | None = None) -> list[Tensor]:
    """The sum over a branch; at most log2 of its microbatches are in memory at once, one more while it adds.

    Args:
        span: the branch.
        leaf: called in order.
        known: branches that are summed already; the sum may overwrite them too.
    """
    if known and span in known:
        return known[span]
    if span[1] - span[0] == 1:
        return leaf(span[0])
    left, right = split(span)
    total = tree_sum(left, leaf, known)
    torch._foreach_add_(total, tree_sum(right, leaf, known))
    return total


class ExactSum:
    """The sum over all microbatches of a step, on every process; the same bits for any number of them.

    Args:
        leaves: microbatches of all processes; each has as many as the others.
        processes: who sums. One process copies nothing.
    """

    def __init__(self, leaves: int, processes: Processes) -> None:
        self.whole, self.processes = (0, leaves), processes
        share = leaves // processes.count
        parts = [(rank * share, (rank + 1) * share) for rank in range(processes.count)]
        self._spans = [branches(self.whole, part) for part in parts]
        # Kept from one step to the next: memory that is new takes as long as the exchange.
        self._vector = self._received = torch.empty(0)

    def __call__(self, leaf: Leaf) -> list[Tensor]:
        """Sum one step.

        Args:
            leaf: float32, of the same shapes for each microbatch; asked for this process's own.
        """
        if self.processes.count == 1:
            return tree_sum(self.whole, leaf)
        return self._exchanged([tree_sum(span, leaf) for span in self._spans[self.processes.rank]])

    def _exchanged(self, mine: Sequence[list[Tensor]]) -> list[Tensor]:
        """Sum everyone's branches.

        All tensors are one vector. Each process gets a slice of it from all, of each of their branches, sums that up
        the tree, and gives the sum to all: no more bytes than the best all-reduce moves, where each has one branch.

        Args:
            mine: the tensors of this process's branches; the first list takes the result.
        """
        result, count = mine[0], self.processes.count
        sizes = [tensor.numel() for tensor in result]
        slice_size = -(-sum(sizes) // count)
        self._make_room(slice_size, wire(result[0].device))
        places = torch.split(self._vector.view(-1)[: sum(sizes)], sizes)
        parts = [place.view_as(tensor) for place, tensor in zip(places, result, strict=True)]
        for row, received in enumerate(self._received):
            # One with fewer branches takes part all the same; what it sends then is not looked at.
            if row < len(mine):
                torch._foreach_copy_(parts, mine[row])
            dist.all_to_all_single(received.view(-1), self._vector.view(-1))
        spans = [(span, row, rank) for rank, own in enumerate(self._spans) for row, span in enumerate(own)]
        known = {span: [self._received[row, rank]] for span, row, rank in spans}
        (total,) = tree_sum(self.whole, _no_leaf, known)
        self._vector[self.processes.rank] = total
        # Gloo's all-gather takes three times as long.
        given = [dist.broadcast(self._vector[rank], src=rank, async_op=True) for rank in range(count)]
        for each in given:
            each.wait()  # type: ignore[union-attr]
        torch._foreach_copy_(result, parts)
        return result

    def _make_room(self, slice_size: int, device: torch.device) -> None:
        count, most = self.processes.count, max(map(len, self._spans))
        if self._received.shape != (most, count, slice_size):
            # A row for each process's slice; zeros, because the last one may be longer than what there is.
            self._vector = torch.zeros(count, slice_size, device=device)
            self._received = torch.empty(most, count, slice_size, device=device)


def _no_leaf(index: int) -> list[Tensor]:
    raise AssertionError(f"microbatch {index} belongs to no process")
