"""The processes that compute one stage together: which one this is, and how they exchange values.

`joining` starts them. Process 0 is the stage: it alone prints, writes, tracks and holds locks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rediffuse.errors import UserError
from rediffuse.params import flatten

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those that compute the stage; without others it is 0 of 1.

    What exchanges values must be called by all of them, in the same order.

    Args:
        rank: its number, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def broadcast(self, value: Value) -> Value:
        """Process 0's value, on all of them."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Value) -> list[Value] | None:
        """Everyone's values in their order, on process 0; None on the others."""
        if self.count == 1:
            return [value]
        values: list[Value] | None = [value] * self.count if self.first else None
        dist.gather_object(value, values)
        return values

    def gather_on_all(self, value: Value) -> list[Value]:
        """Everyone's values in their order, on all of them."""
        if self.count == 1:
            return [value]
        values = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def check_alike(self, parts: Mapping[str, Any]) -> None:
        """Make sure that all of them have the same code, parameters and machine.

        Args:
            parts: what has to be the same, JSON values; nested.

        Raises:
            UserError: names the first that differs.
        """
        facts = self.gather_on_all(flatten(dict(parts)))
        for rank, other in enumerate(facts):
            for key in sorted(facts[0].keys() | other.keys()):
                if facts[0].get(key) != other.get(key):
                    raise UserError(
                        f"process {rank} of {self.count} has {key} {other.get(key)}, process 0 has "
                        f"{facts[0].get(key)}; all must be the same"
                    )


def current() -> Processes:
    """This process among those that were joined."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over the processes, in one piece; all of them ask together."""
    # By the method, not by the class DTensor, whose module takes half a second to import.
    gathered: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return gathered() if gathered else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that may be spread over them."""
    local: Callable[[], Tensor] | None = getattr(tensor, "to_local", None)
    return local() if local else tensor


def wire(device: torch.device) -> torch.device:
    """Where tensors of `device` must lie to be exchanged: processes that share a GPU exchange through the CPU."""
    return device if f"{device.type}:nccl" in dist.get_backend_config() else torch.device("cpu")
