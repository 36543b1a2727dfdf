"""Several contenders in one process, a few steps each in turn: whatever else the machine does meets all alike.

torch's switches are global. Each contender has those that it set while it was built, starting from torch's own
defaults, and finds them again at each of its turns: one that asks for deterministic kernels slows down nobody else.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_FILLING: Any = torch.utils.deterministic


@dataclass(frozen=True)
class Switches:
    """torch's global switches that decide which kernels run; the defaults are torch's own.

    Args:
        deterministic, warn_only: of `torch.use_deterministic_algorithms`.
        fill: whether deterministic algorithms also fill uninitialised memory.
        benchmark, cudnn_deterministic, cudnn_tf32: of `torch.backends.cudnn`.
        precision: of fp32 matrix products.
    """

    deterministic: bool = False
    warn_only: bool = False
    fill: bool = True
    benchmark: bool = False
    cudnn_deterministic: bool = False
    cudnn_tf32: bool = True
    precision: str = "highest"

    @classmethod
    def now(cls) -> "Switches":
        """As they stand."""
        return cls(
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            fill=_FILLING.fill_uninitialized_memory,
            benchmark=torch.backends.cudnn.benchmark,
            cudnn_deterministic=torch.backends.cudnn.deterministic,
            cudnn_tf32=torch.backends.cudnn.allow_tf32,
            precision=torch.get_float32_matmul_precision(),
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Set them for the block, and put back what they were."""
        before = Switches.now()
        self.put()
        try:
            yield
        finally:
            before.put()

    def put(self) -> None:
        """Set them."""
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        _FILLING.fill_uninitialized_memory = self.fill
        torch.backends.cudnn.benchmark = self.benchmark
        torch.backends.cudnn.deterministic = self.cudnn_deterministic
        torch.backends.cudnn.allow_tf32 = self.cudnn_tf32
        torch.set_float32_matmul_precision(self.precision)


REPEATABLE = Switches(deterministic=True, fill=False, cudnn_tf32=False)
"""Those of `runtime.start`."""


@dataclass
class Turned:
    """Something with switches of its own.

    Args:
        made: a contender, or whatever was built.
        switches: those that it set.
    """

    made: Any
    switches: Switches

    @classmethod
    def built(cls, build: Callable[[], Any]) -> "Turned":
        """Build it under torch's defaults, and leave the switches as they were before."""
        with Switches().held():
            return cls(build(), Switches.now())

    def do(self, act: Callable[[Any], Any]) -> Any:
        """Do something with it, under its switches."""
        with self.switches.held():
            return act(self.made)


Turn = Callable[[], Any]


def interleaved(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Seconds of each one's turn in each round; who begins a round changes, so that nobody always follows the same.

    A turn that returns a number of seconds is taken at its word: it knows what of it counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    order = list(turns)
    for _ in range(rounds):
        for name in order:
            start = time.perf_counter()
            told = turns[name]()
            seconds[name].append(float(told) if isinstance(told, float) else time.perf_counter() - start)
        order = [*order[1:], *order[:1]]
    return seconds


def spread(values: list[float]) -> float:
    """Half the distance of the quartiles as a share of the median; 0 of fewer than three."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / (2 * middle)
