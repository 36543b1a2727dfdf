"""A model so small that a server of it answers in milliseconds, and no two of whose images are alike."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rediffuse.diffusion import NetworkDenoiser
from rediffuse.model import Description, build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.prompts import Term
from rediffuse.randomness import seeded_global
from rediffuse.serving.answers import Answers
from rediffuse.serving.package import REFERENCE, SETTINGS, WEIGHTS
from rediffuse.serving.wanted import Origin, Wanted
from rediffuse.snapshots import planned, publish
from rediffuse.workspace import Workspace
from tests.data.planted import params_with

CLASSES = ("cat", "dog", "owl")


def tiny(**changes: Any) -> Params:
    """Parameters of it: 8×8 grey images, two steps, batches of four."""
    return params_with(
        **{
            "model__unet__width": 8,
            "model__unet__blocks": 1,
            "model__unet__head_channels": 8,
            "sample__count": 6,
            "sample__batch_size": 4,
            "sample__steps": 2,
            "sample__seed": 3,
            "evaluate__neighbours": 1,
            "runtime__device": "cpu",
            "runtime__threads": 1,
            "runtime__progress": False,
            **changes,
        }
    )


def write_tiny(folder: Path, *, number: int = 0, classes: tuple[str, ...] = CLASSES, **changes: Any) -> Path:
    """Write a workspace's params.yaml and models/denoiser.safetensors into `folder`; the path of the weights.

    Args:
        number: of the weights; another number, another model.
        changes: of `tiny`.
    """
    params = tiny(**changes)
    workspace = Workspace.at(folder)
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=classes, sigma_data=0.5)
    save_model(workspace.denoiser, description, _drawn(description, number))
    # JSON is YAML.
    workspace.params.write_text(json.dumps(params.model_dump(mode="json")))
    return workspace.denoiser


def trained(workspace: Workspace, params: Params, classes: tuple[str, ...]) -> Workspace:
    """A model and its snapshots, each with weights of its own that leave no image alike."""
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=classes, sigma_data=0.5)
    kept = workspace.root / "kept"
    for number, path in enumerate(
        [workspace.denoiser, workspace.raw, *(kept / each.file for each in planned(params.train))]
    ):
        save_model(path, description, _drawn(description, number))
    publish(kept, workspace.snapshots, planned(params.train))
    return workspace


def loaded(folder: Path) -> Answers:
    reference = folder / REFERENCE
    return Answers.load(folder / SETTINGS, folder / WEIGHTS, reference if reference.exists() else None)


def asked(answers: Answers, seed: int, index: int = 0, label: str | None = None, **changes: Any) -> Wanted:
    """As a request without anything else would have it."""
    named = label or answers.label_at(index)
    terms = changes.pop("terms", (Term(named),) if named else ())
    settings = dataclasses.replace(answers.settings, **changes.pop("settings", {}))
    return Wanted(terms, Origin(seed, index), settings, **changes)


def _drawn(description: Description, number: int) -> NetworkDenoiser:
    """Weights that leave no image alike."""
    with seeded_global(number, "weights"):
        denoiser = build_model(description, torch.device("cpu")).denoiser
        for parameter in denoiser.network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return denoiser
