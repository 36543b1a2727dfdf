"""Samplers: from the prior to the data, one signature for all.

A new one is a file here and a line in `build_sampler`.
"""

from rediffuse.samplers.ddim import Ddim
from rediffuse.samplers.generation import generate, to_uint8, trajectory
from rediffuse.samplers.grids import GRIDS, Grid
from rediffuse.samplers.heun import Heun
from rediffuse.samplers.step import Noise, Sampler, Step

__all__ = [
    "GRIDS",
    "Ddim",
    "Grid",
    "Heun",
    "Noise",
    "Sampler",
    "Step",
    "build_sampler",
    "generate",
    "to_uint8",
    "trajectory",
]


def build_sampler(name: str, *, eta: float = 0.0) -> Sampler:
    """The sampler of that name: ancestral (DDPM's), ddim (with `eta`) or heun.

    Raises:
        KeyError: there is none of that name.
    """
    samplers: dict[str, Sampler] = {"ancestral": Ddim(eta=1.0), "ddim": Ddim(eta=eta), "heun": Heun()}
    return samplers[name]
