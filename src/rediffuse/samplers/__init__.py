"""Samplers: from the prior to the data, one signature for all.

A new one is a file here and a line in SAMPLERS.
"""

from rediffuse.samplers.ddim import Ancestral, Ddim
from rediffuse.samplers.dpm_solver import DpmSolver
from rediffuse.samplers.generation import generate, to_uint8, trajectory
from rediffuse.samplers.grids import GRIDS, Grid
from rediffuse.samplers.heun import Heun
from rediffuse.samplers.langevin import AnnealedLangevin, PredictorCorrector
from rediffuse.samplers.noise import Between, NoiseKey, slerp
from rediffuse.samplers.ode import AdaptiveOde
from rediffuse.samplers.registry import SAMPLERS, SamplerSettings, build_sampler
from rediffuse.samplers.sde import EulerMaruyama, ReverseDiffusion
from rediffuse.samplers.step import Noise, Sampler, Step

__all__ = [
    "GRIDS",
    "SAMPLERS",
    "AdaptiveOde",
    "Ancestral",
    "AnnealedLangevin",
    "Between",
    "Ddim",
    "DpmSolver",
    "EulerMaruyama",
    "Grid",
    "Heun",
    "Noise",
    "NoiseKey",
    "PredictorCorrector",
    "ReverseDiffusion",
    "Sampler",
    "SamplerSettings",
    "Step",
    "build_sampler",
    "generate",
    "slerp",
    "to_uint8",
    "trajectory",
]
