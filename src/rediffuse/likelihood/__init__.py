"""Likelihood: how probable a model makes an image, by the probability-flow ODE or by the bound of a discrete process.

It knows neither files, nor params.yaml, nor MLflow; a reader can lift it into another project.
"""

from rediffuse.likelihood.bound import variational_bound
from rediffuse.likelihood.dequantisation import LEVELS_PER_UNIT, bits_of_bound, bits_of_density, dequantise
from rediffuse.likelihood.flow import log_density, rademacher
from rediffuse.likelihood.solvers import AdaptiveSolver, HeunSolver, Solver

__all__ = [
    "LEVELS_PER_UNIT",
    "AdaptiveSolver",
    "HeunSolver",
    "Solver",
    "bits_of_bound",
    "bits_of_density",
    "dequantise",
    "log_density",
    "rademacher",
    "variational_bound",
]
