"""The training loop: a generator that yields after each optimizer step.

Logging, checkpoints, previews and the progress bar are the caller's. All randomness of step k is a function of
(seed, k, microbatch), so a state put back at step k goes on as if it had never stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rediffuse.diffusion import NetworkDenoiser, Uncertainty
from rediffuse.model import Model
from rediffuse.networks import Condition
from rediffuse.params import TrainParams
from rediffuse.processes import whole
from rediffuse.randomness import generator, seeded_global
from rediffuse.training.batches import Batches
from rediffuse.training.ema import Averages
from rediffuse.training.gradients import Exact, Gradients, Loss
from rediffuse.training.guard import Guard
from rediffuse.training.schedule import SCHEDULES

BETAS = (0.9, 0.99)


@dataclass
class TrainingState:
    """All that changes while training, and so all that a checkpoint holds.

    Args:
        step: optimizer steps taken.
        denoiser: the weights being trained.
        uncertainty: trained with them, where the weighting has one.
        averages: the moving averages of the denoiser's weights.
        optimizer: AdamW over the weights of `trained`.
        guard: refuses steps.
    """

    step: int
    denoiser: NetworkDenoiser
    uncertainty: Uncertainty | None
    averages: Averages
    optimizer: torch.optim.AdamW
    guard: Guard

    @classmethod
    def new(cls, model: Model, params: TrainParams) -> "TrainingState":
        """The state before the first step."""
        trained = _trained(model.denoiser, model.uncertainty)
        return cls(
            step=0,
            denoiser=model.denoiser,
            uncertainty=model.uncertainty,
            averages=Averages.of(model.denoiser, params),
            optimizer=new_optimizer(trained, params),
            guard=Guard(params.guard, next(trained.parameters()).device),
        )

    @property
    def average(self) -> NetworkDenoiser:
        """The average that validation and previews look at."""
        return self.averages.members[0].denoiser

    @property
    def trained(self) -> nn.ModuleDict:
        """All that the optimizer moves, by name."""
        return _trained(self.denoiser, self.uncertainty)


@dataclass(frozen=True)
class StepResult:
    """What one step tells its caller.

    Args:
        step: optimizer steps taken, this one included.
        loss: mean over the batch, a scalar on the device; reading it waits for the step to end.
        refused: 1 where the step was not taken, else 0, a scalar on the device.
    """

    step: int
    loss: Tensor
    refused: Tensor


def train(
    state: TrainingState,
    model: Model,
    *,
    batches: Batches,
    params: TrainParams,
    seed: int,
    check: Callable[[], None] = lambda: None,
    gradients: Gradients | None = None,
) -> Iterator[StepResult]:
    """Train from `state.step` to `params.steps`, changing `state` in place.

    Args:
        state: where to begin.
        model: whose weights these are; its loss and noise levels.
        batches: the examples of each step.
        params: the section `train`.
        seed: of everything drawn.
        check: called before each microbatch; what it raises leaves `state` as the last whole step made it.
        gradients: how they are summed over the microbatches; None: exactly, by the processes there are.
    """
    # The optimizer's: of modules that are sharded, those that `parameters` gives may be put together from the last
    # evaluation, and no gradient reaches these.
    weights = [each for group in state.optimizer.param_groups for each in group["params"]]
    gradients = gradients or Exact(weights, params.batch_size // params.microbatch)
    follow, dropout = state.averages.following(state.denoiser), has_dropout(state.denoiser)

    with batches.stream(state.step, params.steps, gradients.mine) as read:

        def part(index: int) -> Loss:
            check()
            weighted, each = _microbatch_loss(state, model, next(read), params, seed, index, dropout=dropout)
            minimised = each.sum() / params.batch_size
            return Loss(minimised, minimised if each is weighted else weighted.sum() / params.batch_size)

        while state.step < params.steps:
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(params, state.step + 1)
            loss = gradients(part)
            norm = whole(nn.utils.clip_grad_norm_(weights, params.grad_clip))
            refused = state.guard.judge(state.step + 1, loss.minimised, norm, loss.weighted)
            # torch's own hook for gradient scaling: the fused kernel leaves weights and moments alone where this is 1.
            state.optimizer.found_inf = refused  # type: ignore[attr-defined]
            state.optimizer.step()
            state.optimizer.zero_grad()

            state.step += 1
            follow(state.step)
            yield StepResult(step=state.step, loss=loss.minimised, refused=refused)


def new_optimizer(trained: nn.Module, params: TrainParams) -> torch.optim.AdamW:
    """AdamW over all of `trained`, before its first step."""
    return torch.optim.AdamW(
        trained.parameters(), lr=params.lr, betas=BETAS, weight_decay=params.weight_decay, fused=True
    )


def learning_rate(params: TrainParams, step: int) -> float:
    """Of a step, from 1."""
    return params.lr * SCHEDULES[params.schedule](step - 1, params.steps, params.warmup_share)


def has_dropout(module: nn.Module) -> bool:
    """Whether it draws from torch's global generators while it trains: by a dropout layer, or attention with its own.

    A network that draws in another way has no key for it, and a training of it could not be repeated.
    """
    shares = (getattr(each, name, 0.0) for each in module.modules() for name in ("p", "dropout"))
    return any(isinstance(share, int | float) and share > 0 for share in shares)


def _microbatch_loss(
    state: TrainingState,
    model: Model,
    examples: tuple[Tensor, Tensor | None],
    params: TrainParams,
    seed: int,
    index: int,
    *,
    dropout: bool,
) -> tuple[Tensor, Tensor]:
    """The loss of each example of one microbatch, weighted, and as it is minimised: balanced, where that is learned.

    All that is random in it has the key (seed, step, index).
    """
    x0, labels = examples
    count, device, step = len(x0), x0.device, state.step
    draw = generator(seed, "train/noise", step, index, device)
    t = model.noise_levels(model.spread(count, draw, device))
    noise = torch.randn(x0.shape, generator=draw, device=device)
    dropped = torch.rand(count, generator=draw, device=device) < params.label_drop
    mirrored = torch.rand(count, generator=draw, device=device) < 0.5
    if params.horizontal_flip:
        x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
    condition = Condition(labels=labels).drop(dropped)
    # To key torch's global generators, and to put them back, takes as long as a small layer.
    with seeded_global(seed, "train/dropout", step, index, device) if dropout else nullcontext():
        weighted = model.loss(state.denoiser, x0, condition, noise, t)
    return weighted, weighted if state.uncertainty is None else state.uncertainty.balance(weighted, t)


def _trained(denoiser: NetworkDenoiser, uncertainty: Uncertainty | None) -> nn.ModuleDict:
    modules: dict[str, nn.Module] = {"denoiser": denoiser}
    return nn.ModuleDict(modules if uncertainty is None else modules | {"uncertainty": uncertainty})
