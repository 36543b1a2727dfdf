"""What a training records on its way."""

from dataclasses import dataclass, field


@dataclass
class Curves:
    """The curves so far; they travel in the checkpoints, so that a resumed run writes the same tables.

    Args:
        training: rows {step, loss, lr}; the loss is the mean over the steps taken since the row before.
        validation: rows {step, val_loss, val_loss_ema}.
        window: sum of the losses since the last row.
        taken: steps in that sum.
        previewed: the step of the last preview.
    """

    training: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    window: float = 0.0
    taken: float = 0.0
    previewed: int = 0

    @property
    def rows(self) -> list[dict[str, float]]:
        """All of them."""
        return [*self.training, *self.validation]
