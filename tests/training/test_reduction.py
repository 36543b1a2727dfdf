"""The tree over the microbatches: one sum for every number of processes."""

from functools import partial

import pytest
import torch
from torch import Tensor

from rediffuse.processes import Processes
from rediffuse.training.reduction import ExactSum, branches, tree_sum

LEAVES = range(1, 13)
SHARED = [(leaves, count) for leaves in LEAVES for count in LEAVES if leaves % count == 0]


def gradients(leaf: int) -> list[Tensor]:
    """Two tensors whose sum shows the order it was taken in: large and small numbers, of both signs."""
    draw = torch.Generator().manual_seed(leaf)
    return [torch.randn(shape, generator=draw) * 10 ** torch.randn(shape, generator=draw) for shape in ((3, 50), (70,))]


def plain(low: int, high: int) -> list[Tensor]:
    """The definition, word by word."""
    if high - low == 1:
        return gradients(low)
    power = 1
    while power * 2 < high - low:
        power *= 2
    left, right = plain(low, low + power), plain(low + power, high)
    return [a + b for a, b in zip(left, right, strict=True)]


def same(given: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(given, expected, strict=True))


def in_parts(leaves: int, count: int, span_of_rank=lambda rank, share: (rank * share, (rank + 1) * share)):
    """What `count` processes come to, one after the other in this one."""
    whole, share = (0, leaves), leaves // count
    known = {}
    for rank in range(count):
        for span in branches(whole, span_of_rank(rank, share)):
            known[span] = tree_sum(span, gradients)
    return tree_sum(whole, gradients_of_nobody, known)


def gradients_of_nobody(leaf: int) -> list[Tensor]:
    raise AssertionError(f"microbatch {leaf} was summed by no process")


@pytest.mark.parametrize(("leaves", "count"), SHARED)
def test_the_sum_is_the_same_bits_for_every_number_of_processes(leaves: int, count: int):
    assert same(in_parts(leaves, count), plain(0, leaves))


@pytest.mark.parametrize("leaves", range(3, 13))
def test_another_order_is_another_sum(leaves: int):
    in_order = gradients(0)
    for leaf in range(1, leaves):
        torch._foreach_add_(in_order, gradients(leaf))
    backwards = tree_sum((0, leaves), lambda leaf: gradients(leaves - 1 - leaf))
    # Of three in order, the tree's sum is the plain one; of a power of two backwards, the tree is its own mirror.
    assert same(in_order, plain(0, leaves)) == (leaves == 3)
    assert same(backwards, plain(0, leaves)) == (leaves in (4, 8))


@pytest.mark.parametrize(("leaves", "count"), SHARED)
def test_the_branches_of_a_process_are_its_microbatches_and_few(leaves: int, count: int):
    share = leaves // count
    for rank in range(count):
        mine = branches((0, leaves), (rank * share, (rank + 1) * share))
        assert [leaf for span in mine for leaf in range(*span)] == list(range(rank * share, (rank + 1) * share))
        assert len(mine) <= max(1, 2 * (share.bit_length() - 1))
        # A power of two of microbatches and of processes costs no more than an all-reduce.
        assert len(mine) == 1 or leaves & (leaves - 1) or count & (count - 1)


@pytest.mark.parametrize("leaves", [1, 2, 3, 8, 12, 64])
def test_few_gradients_are_in_memory_at_once(leaves: int):
    alive, most = set(), 0

    class Counted(Tensor):
        def __del__(self) -> None:
            alive.discard(id(self))

    def leaf(index: int) -> list[Tensor]:
        nonlocal most
        tensor = torch.ones(1).as_subclass(Counted)
        alive.add(id(tensor))
        most = max(most, len(alive))
        return [tensor]

    (total,) = ExactSum(leaves, Processes())(leaf)
    assert float(total) == leaves
    assert most <= (leaves - 1).bit_length() + 1


def test_one_microbatch_is_used_as_it_is():
    given = gradients(0)
    assert ExactSum(1, Processes())(lambda leaf: given) is given


def test_microbatches_are_computed_in_order():
    seen = []

    def leaf(index: int, kept: list[int]) -> list[Tensor]:
        kept.append(index)
        return gradients(index)

    ExactSum(7, Processes())(partial(leaf, kept=seen))
    assert seen == list(range(7))
