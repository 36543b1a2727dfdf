"""The algebra every family shares: process, prediction, denoiser, noise levels, loss, guidance.

It knows neither files, nor params.yaml, nor MLflow; a reader can lift it into another project.
"""

from rediffuse.diffusion.denoiser import Denoiser, NetworkDenoiser
from rediffuse.diffusion.guidance import ClassifierFreeGuidance
from rediffuse.diffusion.loss import DenoisingLoss
from rediffuse.diffusion.noise_levels import NOISE_LEVELS, LogNormal, NoiseLevels, Uniform, stratified
from rediffuse.diffusion.prediction import PREDICTIONS
from rediffuse.diffusion.process import (
    PROCESSES,
    Ddpm,
    Edm,
    Process,
    add_noise,
    build_process,
    expand,
    noise_to_signal,
)

__all__ = [
    "NOISE_LEVELS",
    "PREDICTIONS",
    "PROCESSES",
    "ClassifierFreeGuidance",
    "Ddpm",
    "Denoiser",
    "DenoisingLoss",
    "Edm",
    "LogNormal",
    "NetworkDenoiser",
    "NoiseLevels",
    "Process",
    "Uniform",
    "add_noise",
    "build_process",
    "expand",
    "noise_to_signal",
    "stratified",
]
