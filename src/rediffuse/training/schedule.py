"""Learning rates as functions of the step, so that a resumed run needs no scheduler's state.

A new schedule is a function here and a line in SCHEDULES.
"""

import math
from collections.abc import Callable

Schedule = Callable[[int, int, float], float]
"""(step from 0, steps in all, share of them that warms up) -> the learning rate as a share of its peak."""


def onecycle(step: int, steps: int, warmup_share: float) -> float:
    """Smith & Topin (2018), as torch's OneCycleLR: a cosine from 1/25 up to 1, then one down to 1/250000."""
    turn = warmup_share * steps - 1
    if step <= turn:
        return _cosine(1 / 25, 1.0, step / turn) if turn > 0 else 1.0
    return _cosine(1.0, 1 / 25e4, (step - turn) / (steps - 1 - turn))


def cosine(step: int, steps: int, warmup_share: float) -> float:
    """A line up to 1, then half a cosine down to 0 at the end (Loshchilov & Hutter, 2017, eq. 5)."""
    warmup = warmup_share * steps
    return _warmup(step, warmup) if step < warmup else _cosine(1.0, 0.0, (step - warmup) / (steps - warmup))


def constant(step: int, steps: int, warmup_share: float) -> float:
    """A line up to 1, which then holds."""
    return _warmup(step, warmup_share * steps)


SCHEDULES: dict[str, Schedule] = {"onecycle": onecycle, "cosine": cosine, "constant": constant}


def _warmup(step: int, warmup: float) -> float:
    return min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
