"""The moving averages of the weights that a training keeps, in float32, buffers included."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rediffuse import power_ema
from rediffuse.diffusion import NetworkDenoiser
from rediffuse.params import TrainParams
from rediffuse.processes import own_part


@dataclass(frozen=True)
class Average:
    """One average.

    Args:
        denoiser: holds it.
        length: of a power function's profile (see `power_ema`); None for the constant decay.
        decay: β after step n, from 1.
    """

    denoiser: NetworkDenoiser
    length: float | None
    decay: Callable[[int], float]

    @property
    def name(self) -> str:
        """Its name among the others."""
        return "average" if self.length is None else f"average-{self.length:.3f}"


@dataclass(frozen=True)
class Averages:
    """The averages of one training.

    Args:
        members: one for the constant decay, else one for each of `power_ema.LENGTHS`. The first stands for all in
            validation and previews: it is the one whose length is nearest to that of the model to come.
    """

    members: tuple[Average, ...]

    @classmethod
    def of(cls, denoiser: NetworkDenoiser, params: TrainParams) -> "Averages":
        """Those that the section `train` asks for, each a copy of the weights so far."""

        def held() -> NetworkDenoiser:
            # Samples and validation use an average, without dropout.
            return copy.deepcopy(denoiser).requires_grad_(False).eval()

        if params.ema == "constant":
            return cls((Average(held(), None, partial(ema_decay, decay=params.ema_decay, start=params.ema_start)),))
        nearest_first = sorted(power_ema.LENGTHS, key=lambda length: abs(length - params.ema_length))
        return cls(
            tuple(
                Average(held(), length, partial(power_ema.decay, gamma=power_ema.exponent(length)))
                for length in nearest_first
            )
        )

    def following(self, denoiser: NetworkDenoiser) -> Callable[[int], None]:
        """What takes in the weights after a step, from 1.

        Good for as long as no tensor of theirs is replaced by another; to change one in place is no matter.
        """
        # Modules that are spread over processes move their parts when they first compute.
        found = None if _is_spread(denoiser) else [_Pairs.of(each.denoiser, denoiser) for each in self.members]

        def follow(step: int) -> None:
            pairs = found or [_Pairs.of(each.denoiser, denoiser) for each in self.members]
            for average, pair in zip(self.members, pairs, strict=True):
                pair.update(average.decay(step))

        return follow


def ema_decay(step: int, decay: float, start: int) -> float:
    """β after optimizer step `step` (from 1): 0 until `start`, a copy; then rising to `decay` as in short averages.

    β = min(decay, (1 + n) / (10 + n)) with n steps since the start (Abadi et al., TensorFlow's num_updates).
    """
    since = step - start
    return 0.0 if since <= 0 else min(decay, (1 + since) / (10 + since))


def update(average: nn.Module, model: nn.Module, beta: float) -> None:
    """average <- β·average + (1 - β)·model, in place; what is no float is copied."""
    _Pairs.of(average, model).update(beta)


@dataclass(frozen=True)
class _Pairs:
    """The tensors of an average and of what it follows, pair by pair, floats and others.

    To find them goes through all modules, which for a small network takes longer than the average itself.
    """

    floats: tuple[list[Tensor], list[Tensor]]
    others: tuple[list[Tensor], list[Tensor]]

    @classmethod
    def of(cls, average: nn.Module, model: nn.Module) -> "_Pairs":
        pairs = list(zip(_tensors(average), _tensors(model), strict=True))
        return cls(
            _apart([pair for pair in pairs if pair[0].is_floating_point()]),
            _apart([pair for pair in pairs if not pair[0].is_floating_point()]),
        )

    @torch.no_grad()
    def update(self, beta: float) -> None:
        torch._foreach_lerp_(*self.floats, 1 - beta)
        for average, value in zip(*self.others, strict=True):
            average.copy_(value)


def _apart(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [average for average, _ in pairs], [value for _, value in pairs]


def _is_spread(module: nn.Module) -> bool:
    """Whether its tensors are spread over processes."""
    return any(own_part(tensor) is not tensor for tensor in module.state_dict().values())


def _tensors(module: nn.Module) -> Sequence[Tensor]:
    """In place, so that of one that is spread over processes each averages its own part."""
    return [own_part(tensor) for tensor in module.state_dict().values()]
