"""What is seen before a step is taken: a loss or gradient that is no number, a loss far above its running mean.

Decided on the device, from numbers that every process has alike, so that nobody waits for an answer and the decision
repeats with the training. A step refused leaves weights and moments as they were: AdamW's fused kernel reads the
verdict itself. (The averages are of the weights as they are then.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rediffuse.params import GuardParams

SHARE = 0.01
"""Of a new loss in its running mean, once 1/SHARE steps were taken; before, that is the mean of all."""

SETTLED = 50
"""Steps taken before the rule for spikes holds."""

IN_A_ROW = 10
"""Steps refused one after the other, after which skipping helps no more."""


@dataclass(frozen=True)
class Refusal:
    """A step that was not taken.

    Args:
        step: its number, from 1.
        loss: mean over its batch, as the noise levels are weighted; where that is a number and what was minimised is
            none, the latter.
        norm: of its gradient, before clipping.
        usual: the running mean of the losses before it.
        row: how many in a row were refused, it included.
    """

    step: int
    loss: float
    norm: float
    usual: float
    row: int

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are numbers, and so the loss is a spike."""
        return abs(self.loss) < float("inf") and abs(self.norm) < float("inf")

    @property
    def reason(self) -> str:
        """In words."""
        if not self.finite:
            return f"the loss is {self.loss:.6g} and the norm of its gradient {self.norm:.6g}"
        if self.usual <= 0:
            return f"the loss is {self.loss:.6g}, and its running mean {self.usual:.6g}"
        return f"the loss is {self.loss:.6g}, {self.loss / self.usual:.3g} times its running mean"


class Guard:
    """The verdict on each step, and what has to be remembered for it.

    Args:
        params: the rules.
        device: of the training.
    """

    def __init__(self, params: GuardParams, device: torch.device) -> None:
        self.params = params
        # Losses taken so far, their running mean, steps refused in all and in a row.
        self.memory = torch.zeros(4, dtype=torch.float64, device=device)
        self._told: list[Tensor] = []

    @property
    def skipped(self) -> int:
        """Steps refused so far; reading it waits for the device."""
        return int(self.memory[2])

    def judge(self, step: int, loss: Tensor, norm: Tensor, weighted: Tensor | None = None) -> Tensor:
        """1 where the step is to be refused, else 0, a float32 scalar.

        Args:
            step: its number, from 1.
            loss: what is minimised, mean over the batch, a scalar.
            norm: of the whole gradient, a scalar.
            weighted: the loss before it was balanced (see `diffusion.Uncertainty`), which is never negative: balanced,
                it is about the logarithm of it, of which so many times the mean says nothing. None: the loss itself.
        """
        taken, usual, skipped, row = self.memory.unbind()
        minimised, size = loss.double(), norm.double()
        value = minimised if weighted is None else torch.where(minimised.isfinite(), weighted.double(), minimised)
        refused = ~(value.isfinite() & size.isfinite())
        if self.params.spike is not None:
            refused = refused | ((taken >= SETTLED) & (value > self.params.spike * usual))
        accepted = ~refused
        share = torch.clamp(1 / (taken + 1), min=SHARE)
        mean = torch.where(accepted, usual + share * (value - usual), usual)
        row = torch.where(refused, row + 1, torch.zeros_like(row))
        self._told.append(torch.stack([torch.full_like(value, step), value, size, usual, row]))
        self.memory = torch.stack([taken + accepted, mean, skipped + refused, row])
        return refused.float()

    def refusals(self) -> list[Refusal]:
        """The steps refused since this was asked last; waits for the device."""
        told, self._told = self._told, []
        if not told:
            return []
        rows = torch.stack(told).tolist()
        return [Refusal(int(step), loss, norm, usual, int(row)) for step, loss, norm, usual, row in rows if row]

    def stops(self, refusal: Refusal) -> bool:
        """Whether training ends there, rather than go on with the next step."""
        rule = self.params.on_spike if refusal.finite else self.params.non_finite
        return rule == "stop" or refusal.row >= IN_A_ROW
