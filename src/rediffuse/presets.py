"""What the model of a paper is, in the keys of params.yaml, and what the U-Net of a size is.

A key that params.yaml leaves null takes the value of `diffusion.preset` (process, prediction, weighting, noise levels,
sampler), or of `model.size`; a key that it gives stays as given. A new preset is an entry of PRESETS, a new size one of
SIZES; docs/families.md has the presets as a table with the equations, docs/performance.md how the sizes were found.
"""

from collections.abc import Mapping
from typing import Any

# A deterministic sampler without extras: what a preset says of these belongs to its own sampler, so they also hold
# where params.yaml chooses another sampler than the preset's.
PLAIN_SAMPLING: dict[str, Any] = {
    "sample.eta": 0.0,
    "sample.variance": "posterior",
    "sample.corrector_steps": 0,
}

# Published constants of what a preset does not use itself, but another key may ask for.
PUBLISHED: dict[str, Any] = {
    "diffusion.cosine.offset": 0.0,
    "diffusion.cosine.steps": 0,
    "diffusion.ve.steps": 0,
    "diffusion.lognormal.mean": -1.2,
    "diffusion.lognormal.std": 1.2,
    "sample.threshold": "none",
    **PLAIN_SAMPLING,
}

PRESETS: dict[str, dict[str, Any]] = {
    # Ho, Jain & Abbeel (2020), section 4 and their code: L_simple, the variance beta_t, the estimate of x0 clipped.
    "ddpm": {
        "diffusion.process": "ddpm",
        "diffusion.prediction": "eps",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "ancestral",
        "sample.variance": "process",
        "sample.grid": "discrete",
        "sample.steps": 1000,
        "sample.threshold": "static",
    },
    # Salimans & Ho (2022), section 4 and appendix D: alpha = cos(pi·t/2), v, SNR + 1, DDIM, the estimate clipped.
    "ddpm_v": {
        "diffusion.process": "cosine",
        "diffusion.prediction": "v",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "ddim",
        "sample.grid": "trailing",
        "sample.steps": 128,
        "sample.threshold": "static",
    },
    # Song & Ermon (2020), table of CIFAR-10: 232 levels, T = 5, epsilon = 6.2e-6 = 0.062·sigma_min², a last denoising.
    "ncsn": {
        "diffusion.process": "ve",
        "diffusion.ve.steps": 232,
        "diffusion.prediction": "eps",
        "diffusion.weighting": "ncsn",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "annealed_langevin",
        "sample.grid": "discrete",
        "sample.steps": 232,
    },
    # Song et al. (2021), appendix C and G, and their code: predictor alone.
    "vp_sde": {
        "diffusion.process": "vp",
        "diffusion.prediction": "eps",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "euler_maruyama",
        "sample.eta": 1.0,
        "sample.grid": "uniform",
        "sample.steps": 1000,
    },
    # Song et al. (2021): reverse diffusion with one Langevin step at each level, r = 0.16.
    "ve_sde": {
        "diffusion.process": "ve",
        "diffusion.prediction": "eps",
        "diffusion.weighting": "ncsn",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "reverse_diffusion",
        "sample.corrector_steps": 1,
        "sample.grid": "uniform",
        "sample.steps": 1000,
    },
    # Song et al. (2021), section 3.4: as vp_sde on the sub-VP path.
    "subvp_sde": {
        "diffusion.process": "subvp",
        "diffusion.prediction": "eps",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "euler_maruyama",
        "sample.eta": 1.0,
        "sample.grid": "uniform",
        "sample.steps": 1000,
    },
    # Nichol & Dhariwal (2021), sections 3 and 4: cosine path in 4000 steps, L_simple, 250 of them for a sample. Their
    # learned variance needs a network with two outputs a channel; the posterior's variance stands in its place.
    "iddpm": {
        "diffusion.process": "cosine",
        "diffusion.cosine.offset": 0.008,
        "diffusion.cosine.steps": 4000,
        "diffusion.prediction": "eps",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "ancestral",
        "sample.grid": "discrete",
        "sample.steps": 250,
        "sample.threshold": "static",
    },
    # Karras et al. (2022), table 1 and section 5: CIFAR-10's 35 evaluations.
    "edm": {
        "diffusion.process": "edm",
        "diffusion.prediction": "edm",
        "diffusion.weighting": "edm",
        "diffusion.noise_levels": "lognormal",
        "sample.sampler": "heun",
        "sample.grid": "karras",
        "sample.steps": 18,
    },
    # Karras et al. (2024), section 2 and table 6: the loss balanced by a learned uncertainty, 63 evaluations.
    "edm2": {
        "diffusion.process": "edm",
        "diffusion.prediction": "edm",
        "diffusion.weighting": "edm2",
        "diffusion.noise_levels": "lognormal",
        "diffusion.lognormal.mean": -0.4,
        "diffusion.lognormal.std": 1.0,
        "sample.sampler": "heun",
        "sample.grid": "karras",
        "sample.steps": 32,
    },
    # Lipman et al. (2023) and Liu et al. (2023): straight paths, the velocity, uniform times, an adaptive solver.
    "flow": {
        "diffusion.process": "flow",
        "diffusion.prediction": "velocity",
        "diffusion.weighting": "plain",
        "diffusion.noise_levels": "uniform",
        "sample.sampler": "ode",
        "sample.grid": "uniform",
        "sample.steps": 8,
    },
}

# By quality for the time it takes: tiny on 8×8 digits and a CPU, small on 28×28 and a CPU, base on 32×32 colours and a
# GPU (where it is the U-Net of Ho et al., 2020, appendix B).
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "model.unet.patch": 2,
        "model.unet.width": 64,
        "model.unet.multipliers": [1],
        "model.unet.blocks": 1,
        "model.unet.attention_sizes": [4],
        "model.unet.head_channels": 64,
        "model.unet.groups": 8,
    },
    "small": {
        "model.unet.patch": 2,
        "model.unet.width": 64,
        "model.unet.multipliers": [1, 1],
        "model.unet.blocks": 1,
        "model.unet.attention_sizes": [7, 8],
        "model.unet.head_channels": 64,
        "model.unet.groups": 8,
    },
    "base": {
        "model.unet.patch": 1,
        "model.unet.width": 128,
        "model.unet.multipliers": [1, 2, 2, 2],
        "model.unet.blocks": 2,
        "model.unet.attention_sizes": [16, 8, 4],
        "model.unet.head_channels": 64,
        "model.unet.groups": 32,
    },
}


def expand(document: Mapping[str, Any]) -> dict[str, Any]:
    """params.yaml with every null that its preset or its size has a value for replaced by it.

    Args:
        document: sections by name; what is no mapping, or names no preset and no size, comes back as it is.
    """
    usual = {**SIZES.get(str(_value(document, "model.size")), {})}
    preset = PRESETS.get(str(_value(document, "diffusion.preset")))
    if preset is not None:
        usual |= PUBLISHED | preset
        if _value(document, "sample.sampler") not in (None, preset["sample.sampler"]):
            usual |= PLAIN_SAMPLING
    return {
        name: _filled(section, usual, f"{name}.") if isinstance(section, Mapping) else section
        for name, section in document.items()
    }


def _filled(section: Mapping[str, Any], usual: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key: _filled(value, usual, f"{prefix}{key}.")
        if isinstance(value, Mapping)
        else usual.get(f"{prefix}{key}")
        if value is None
        else value
        for key, value in section.items()
    }


def _value(document: Mapping[str, Any], name: str) -> Any:
    section, key = name.split(".")
    found = document.get(section)
    return found.get(key) if isinstance(found, Mapping) else None
