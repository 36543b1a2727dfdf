"""The gradient of a step, from the microbatches that the processes have of it: exactly, fast, or sharded over them."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rediffuse.errors import UserError
from rediffuse.params import TrainParams
from rediffuse.processes import Processes, current, wire
from rediffuse.training.reduction import ExactSum


class Loss(NamedTuple):
    """Of a batch, or a microbatch's part of it; a tuple, in which torch's data parallelism finds tensors.

    Args:
        minimised: what the gradient is of, a scalar.
        weighted: the same before it was balanced, a scalar; may be the same tensor.
    """

    minimised: Tensor
    weighted: Tensor


Part = Callable[[int], Loss]
"""The number of a microbatch in its step -> its part of the loss."""


class Gradients(Protocol):
    """One of the ways."""

    @property
    def mine(self) -> range:
        """The microbatches of a step that this process computes, in order."""
        ...

    def __call__(self, part: Part) -> Loss:
        """Leave the gradient of the whole batch in the weights, and give its loss, the same on all processes."""
        ...


class Exact:
    """Sums of a fixed order, the same bits for any number of processes.

    Args:
        weights: those that get gradients.
        microbatches: of a step, on all processes together.
        processes: who sums; None: all there are.
    """

    def __init__(self, weights: Sequence[nn.Parameter], microbatches: int, processes: Processes | None = None) -> None:
        self.weights, self.microbatches = weights, microbatches
        self.mine = _share(microbatches, processes or current())
        self.sum = ExactSum(microbatches, processes or current())

    def __call__(self, part: Part) -> Loss:
        """See `Gradients`."""
        if self.microbatches == 1:
            return _backward(part(0))
        minimised, weighted, *gradients = self.sum(lambda index: self._leaf(part(index)))
        for weights, gradient in zip(self.weights, gradients, strict=True):
            weights.grad = gradient
        return Loss(minimised, weighted)

    def _leaf(self, loss: Loss) -> list[Tensor]:
        minimised, weighted = _backward(loss)
        gradients = [
            weights.grad if weights.grad is not None else torch.zeros_like(weights) for weights in self.weights
        ]
        for weights in self.weights:
            weights.grad = None
        # Sums are made in place: two that are one tensor would be added twice.
        return [minimised, weighted.clone(), *gradients]


class Fast:
    """Torch's all-reduce while the gradients are still being computed; other bits for another number of processes.

    Args:
        trained: all that gets gradients.
        microbatches: of a step, on all processes together.
    """

    def __init__(self, trained: nn.Module, microbatches: int) -> None:
        self.processes = current()
        self.mine = _share(microbatches, self.processes)
        with warnings.catch_warnings():
            # That its argument has another name since torch 2.14; buffers are constants here.
            warnings.simplefilter("ignore", FutureWarning)
            self.module = DistributedDataParallel(
                _Evaluated(trained), broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self._settle(list(trained.parameters()))

    def _settle(self, weights: Sequence[nn.Parameter]) -> None:
        """Let torch put the gradients into the buckets that it keeps.

        After the first step of a process it sorts them into buckets by the order in which they came. The order in which
        more than two are added depends on a number's place in its bucket, so the first step of a process that goes on
        from a checkpoint would have other bits. This makes it sort them before, by their order in the network.
        """

        def nothing(index: int) -> Loss:  # noqa: ARG001
            none = torch.stack([each.flatten()[0] * 0 for each in weights]).sum()
            return Loss(none, none)

        _backward(self.module(nothing, 0))
        for each in weights:
            each.grad = None

    def __call__(self, part: Part) -> Loss:
        """See `Gradients`."""
        losses = []
        for index in self.mine:
            with nullcontext() if index == self.mine[-1] else self.module.no_sync():
                losses.append(_backward(self.module(part, index), times=self.processes.count))
        return _summed(losses)


class Sharded:
    """Each process keeps the gradients of the weights that it keeps.

    Args:
        modules: sharded by `sharding.sharded`, and trained.
        microbatches: of a step, on all processes together.
    """

    def __init__(self, modules: Sequence[nn.Module], microbatches: int) -> None:
        self.modules, self.processes = modules, current()
        self.mine = _share(microbatches, self.processes)

    def __call__(self, part: Part) -> Loss:
        """See `Gradients`."""
        losses = []
        for index in self.mine:
            for module in self.modules:
                module.set_requires_gradient_sync(index == self.mine[-1])  # type: ignore[operator]
            losses.append(_backward(part(index), times=self.processes.count))
        return _summed(losses)


def check_shares(params: TrainParams, processes: Processes) -> int:
    """The microbatches of a step, which the processes can share evenly.

    Raises:
        UserError: they can't.
    """
    if reason := params.why_not_shared(processes.count):
        raise UserError(f"{processes.count} processes were started, but {reason}")
    return params.microbatches


class _Evaluated(nn.Module):
    """Torch's data parallelism listens to the forward pass of a module; this one's is whatever it is given."""

    def __init__(self, trained: nn.Module) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, part: Part, index: int) -> Loss:
        return part(index)


def _share(microbatches: int, processes: Processes) -> range:
    share = microbatches // processes.count
    return range(processes.rank * share, (processes.rank + 1) * share)


def _backward(loss: Loss, times: int = 1) -> Loss:
    """Torch's own ways take the mean of the gradients over so many processes."""
    scaled = loss.minimised * times if times > 1 else loss.minimised
    scaled.backward()  # type: ignore[no-untyped-call]
    return Loss(*(each.detach() for each in loss))


def _summed(losses: Sequence[Loss]) -> Loss:
    """Over this process's microbatches, and over the processes."""
    total = torch.stack([torch.stack(list(kind)).sum() for kind in zip(*losses, strict=True)])
    sent = total.to(wire(total.device))
    dist.all_reduce(sent)
    minimised, weighted = sent.to(total.device)
    return Loss(minimised, weighted)
