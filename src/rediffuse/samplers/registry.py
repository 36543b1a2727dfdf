"""Samplers by name, each built from the settings that it has."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rediffuse.samplers.ddim import Ancestral, Ddim
from rediffuse.samplers.dpm_solver import DpmSolver
from rediffuse.samplers.heun import Heun
from rediffuse.samplers.langevin import AnnealedLangevin, PredictorCorrector
from rediffuse.samplers.ode import AdaptiveOde
from rediffuse.samplers.sde import EulerMaruyama, ReverseDiffusion
from rediffuse.samplers.step import PerStep, Sampler


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """What samplers can be told; each one's own docstring says what it makes of it.

    Args:
        eta: of ddim and euler_maruyama.
        variance: of ancestral.
        churn, churn_levels, churn_noise: of heun.
        corrector_steps, corrector_snr: of the Langevin corrector before each step of a one-step sampler.
        langevin_steps, langevin_step: of annealed_langevin.
        tolerance: of ode.
    """

    eta: float = 0.0
    variance: Literal["posterior", "process"] = "posterior"
    churn: float = 0.0
    churn_levels: tuple[float, float] | None = None
    churn_noise: float = 1.0
    corrector_steps: int = 0
    corrector_snr: float = 0.16
    langevin_steps: int = 5
    langevin_step: float = 0.062
    tolerance: float = 1e-4


SAMPLERS: dict[str, Callable[[SamplerSettings], Sampler]] = {
    "ancestral": lambda own: Ancestral(own.variance),
    "ddim": lambda own: Ddim(own.eta),
    "heun": lambda own: Heun(own.churn, own.churn_levels or (0.0, math.inf), own.churn_noise),
    "dpmpp_2m": lambda _: DpmSolver(),
    "dpmpp_2m_sde": lambda _: DpmSolver(stochastic=True),
    "euler_maruyama": lambda own: EulerMaruyama(own.eta),
    "reverse_diffusion": lambda _: ReverseDiffusion(),
    "annealed_langevin": lambda own: AnnealedLangevin(own.langevin_steps, own.langevin_step),
    "ode": lambda own: AdaptiveOde(own.tolerance),
}


def build_sampler(name: str, settings: SamplerSettings | None = None) -> Sampler:
    """The sampler of that name.

    Raises:
        KeyError: there is none of that name.
        ValueError: a corrector for a sampler whose steps do not stand alone.
    """
    own = settings or SamplerSettings()
    sampler = SAMPLERS[name](own)
    if not own.corrector_steps:
        return sampler
    if not isinstance(sampler, PerStep):
        raise ValueError(f"{name} can't be corrected between its steps")
    return PredictorCorrector(sampler, own.corrector_steps, own.corrector_snr)
