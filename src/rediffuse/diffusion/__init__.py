"""The algebra every family shares: process, prediction, denoiser, noise levels, weighting, loss, guidance, thresholds.

It knows neither files, nor params.yaml, nor MLflow; a reader can lift it into another project.
"""

from rediffuse.diffusion.denoiser import Denoiser, NetworkDenoiser
from rediffuse.diffusion.guidance import Autoguidance, ClassifierFreeGuidance, Composition, GuidedLevels
from rediffuse.diffusion.independent import IndependentPixels
from rediffuse.diffusion.loss import DenoisingLoss
from rediffuse.diffusion.noise_levels import (
    NOISE_LEVELS,
    SPREADS,
    LogNormal,
    NoiseLevels,
    Spread,
    Uniform,
    UniformLogSnr,
    stratified,
)
from rediffuse.diffusion.prediction import PREDICTIONS, from_prediction, to_prediction
from rediffuse.diffusion.process import Point, Process, add_noise, expand, noise_to_signal
from rediffuse.diffusion.processes import PROCESSES, Cosine, Ddpm, Edm, Flow, SubVp, Ve, Vp, build_process
from rediffuse.diffusion.threshold import DynamicThreshold, StaticThreshold
from rediffuse.diffusion.uncertainty import Uncertainty
from rediffuse.diffusion.weighting import WEIGHTINGS

__all__ = [
    "NOISE_LEVELS",
    "PREDICTIONS",
    "PROCESSES",
    "SPREADS",
    "WEIGHTINGS",
    "Autoguidance",
    "ClassifierFreeGuidance",
    "Composition",
    "Cosine",
    "Ddpm",
    "Denoiser",
    "DenoisingLoss",
    "DynamicThreshold",
    "Edm",
    "Flow",
    "GuidedLevels",
    "IndependentPixels",
    "LogNormal",
    "NetworkDenoiser",
    "NoiseLevels",
    "Point",
    "Process",
    "Spread",
    "StaticThreshold",
    "SubVp",
    "Uncertainty",
    "Uniform",
    "UniformLogSnr",
    "Ve",
    "Vp",
    "add_noise",
    "build_process",
    "expand",
    "from_prediction",
    "noise_to_signal",
    "stratified",
    "to_prediction",
]
