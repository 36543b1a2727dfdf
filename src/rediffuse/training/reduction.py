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


def tree_sum(
    span: Span,
    leaf: Callable[[int], list[Tensor]],
    known: Mapping[Span, list[Tensor]] | None = None,
) -> list[Tensor]:
    """The sum over a branch; at most log2 of its microbatches are in memory at once, one more while it adds.

    Args:
        span: the branch.
        leaf: the tensors of one microbatch, which the sum may overwrite; called in order.
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


def exact_sum(leaves: int, leaf: Callable[[int], list[Tensor]], processes: Processes) -> list[Tensor]:
    """The sum over all microbatches of a step, on every process; the same bits for any number of them.

    Args:
        leaves: microbatches of all processes; each has as many as the others.
        leaf: the tensors of one of this process's microbatches, float32, of the same shapes for each; may be
            overwritten.
        processes: who sums. One process copies nothing.
    """
    whole = (0, leaves)
    if processes.count == 1:
        return tree_sum(whole, leaf)
    share = leaves // processes.count
    spans = [branches(whole, (rank * share, (rank + 1) * share)) for rank in range(processes.count)]
    mine = [tree_sum(span, leaf) for span in spans[processes.rank]]
    return _exchanged(whole, spans, mine, processes)


def _exchanged(
    whole: Span, spans: Sequence[Sequence[Span]], mine: Sequence[list[Tensor]], processes: Processes
) -> list[Tensor]:
    """Sum everyone's branches.

    All tensors are one vector. Each process gets a slice of it from all, of each of their branches, sums that up the
    tree, and gives the sum to all: as many bytes as the fastest all-reduce moves where each process has one branch.

    Args:
        whole: all microbatches.
        spans: the branches of each process.
        mine: the tensors of this process's branches; the first list takes the result.
    """
    result = mine[0]
    count, most = processes.count, max(map(len, spans))
    sizes = [tensor.numel() for tensor in result]
    slice_size = -(-sum(sizes) // count)
    device = wire(result[0].device)
    vector = torch.zeros(count * slice_size, device=device)
    places = torch.split(vector[: sum(sizes)], sizes)
    parts = [place.view_as(tensor) for place, tensor in zip(places, result, strict=True)]
    received = torch.empty(most, count, slice_size, device=device)
    for row in range(most):
        # One with fewer branches takes part all the same; what it sends then is not looked at.
        if row < len(mine):
            torch._foreach_copy_(parts, mine[row])
        dist.all_to_all_single(received[row].view(-1), vector)
    known = {span: [received[row, rank]] for rank, own in enumerate(spans) for row, span in enumerate(own)}
    (total,) = tree_sum(whole, _no_leaf, known)
    dist.all_gather(list(vector.view(count, slice_size)), total)
    torch._foreach_copy_(result, parts)
    return result


def _no_leaf(index: int) -> list[Tensor]:
    raise AssertionError(f"microbatch {index} belongs to no process")
