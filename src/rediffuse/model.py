"""A model as the pipeline hands it on: a denoiser, and the description that rebuilds it, in one safetensors file.

The description is plain JSON: names of registries and their settings, the images' shape and the classes. Nothing in
the file is code.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rediffuse.acceleration import native_bf16
from rediffuse.diffusion import (
    NOISE_LEVELS,
    SPREADS,
    DenoisingLoss,
    NetworkDenoiser,
    NoiseLevels,
    Process,
    Spread,
    Uncertainty,
    build_process,
)
from rediffuse.errors import UserError
from rediffuse.files import replacing
from rediffuse.networks import build_network
from rediffuse.params import DiffusionParams, ModelParams, Section

# One key, because safetensors writes several in another order each time.
_KEY = "rediffuse"
_OS_ERROR = re.compile(r"os error (\d+)")

Description = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A denoiser with what trains, judges and samples it.

    Args:
        description: what it was built from.
        denoiser: on its process.
        loss: its training loss.
        noise_levels: the distribution of its training times.
        spread: how the draws of one batch lie to each other.
        uncertainty: of the weighting edm2, trained beside the denoiser; None for the others.
    """

    description: Description
    denoiser: NetworkDenoiser
    loss: DenoisingLoss
    noise_levels: NoiseLevels
    spread: Spread
    uncertainty: Uncertainty | None

    @property
    def process(self) -> Process:
        """The path it was trained on."""
        return self.denoiser.process

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of its images."""
        channels, height, width = self.description["shape"]
        return channels, height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its labels; empty for a model without."""
        return tuple(self.description["classes"])


def describe(
    model: ModelParams,
    diffusion: DiffusionParams,
    *,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    sigma_data: float,
) -> Description:
    """The description of the model that these parameters ask for, on such data.

    Args:
        model, diffusion: sections of params.yaml.
        shape: (channels, height, width) of the images.
        classes: names of the labels; empty for none.
        sigma_data: standard deviation of the pixels on [-1, 1].
    """
    return {
        "preset": diffusion.preset,
        "network": _named(model.name, model.settings),
        "precision": model.precision,
        "process": _named(diffusion.process, diffusion.settings),
        "prediction": diffusion.prediction,
        "weighting": _named(diffusion.weighting, diffusion.weighting_settings),
        "noise_levels": _named(diffusion.noise_levels, diffusion.noise_level_settings),
        "spread": diffusion.spread,
        "sigma_data": sigma_data,
        "shape": list(shape),
        "classes": list(classes),
    }


def _named(name: str, settings: Section) -> dict[str, Any]:
    return {"name": name, "settings": settings.model_dump(mode="json")}


def build_model(description: Description, device: torch.device) -> Model:
    """A model with new weights, drawn from torch's global generator (see `randomness.seeded_global`).

    Raises:
        UserError: the network can't take images of that shape.
    """
    channels, height, width = description["shape"]
    network_name, process_name = description["network"]["name"], description["process"]["name"]
    try:
        network = build_network(
            network_name, (channels, height, width), len(description["classes"]), description["network"]["settings"]
        )
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None
    process = build_process(process_name, description["process"]["settings"])
    prediction, sigma_data = description["prediction"], description["sigma_data"]
    precision = description["precision"]
    half = precision == "bf16" or (precision == "auto" and native_bf16(device))
    denoiser = NetworkDenoiser(network, process, prediction, sigma_data, torch.bfloat16 if half else None)
    noise_levels, weighting = description["noise_levels"], description["weighting"]
    return Model(
        description=description,
        denoiser=denoiser.to(device),
        loss=DenoisingLoss(
            process=process,
            prediction=prediction,
            sigma_data=sigma_data,
            weighting=weighting["name"],
            settings=weighting["settings"],
        ),
        noise_levels=NOISE_LEVELS[noise_levels["name"]](process, **noise_levels["settings"]),
        spread=SPREADS[description["spread"]],
        uncertainty=Uncertainty(process).to(device) if weighting["name"] == "edm2" else None,
    )


def save_model(path: Path, description: Description, denoiser: NetworkDenoiser) -> None:
    """Write the weights of `denoiser` and the description; the same bytes for the same values."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in denoiser.network.state_dict().items()}
    save_weights(path, description, weights)


def save_weights(path: Path, description: Description, weights: Mapping[str, Tensor]) -> None:
    """Write a network's tensors as `save_model` does.

    Args:
        weights: contiguous, on the CPU.

    Raises:
        OSError: nothing is left behind.
    """
    with replacing(path) as temporary:
        write_tensors(temporary, weights, {_KEY: json.dumps(description, sort_keys=True)})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file.

    Args:
        metadata: of one key.

    Raises:
        OSError: the disk is full, say; safetensors tells it only in words.
    """
    try:
        save_file(dict(tensors), path, metadata)
    except SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def read_weights(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """The description in a model's file, and the tensors of its network by name, on the CPU.

    Raises:
        UserError: the file is missing, or is no model of rediffuse's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro train` makes it") from None
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    if _KEY not in metadata:
        raise UserError(f"{path} holds weights, but not rediffuse's description of the model they belong to")
    return json.loads(metadata[_KEY]), tensors


def load_model(path: Path, device: torch.device) -> Model:
    """The model in a file, ready to sample.

    Raises:
        UserError: the file is missing, or is no model of rediffuse's.
    """
    description, tensors = read_weights(path)
    model = build_model(description, device)
    put_weights(model, tensors, path)
    model.denoiser.requires_grad_(False).eval()
    return model


def put_weights(model: Model, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give the network its weights, which come from a file.

    Raises:
        UserError: they are of another network.
    """
    try:
        model.denoiser.network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{path} holds other weights than the network of its description has, perhaps from an earlier version "
            f"({first}); `dvc repro train` makes it anew"
        ) from None
