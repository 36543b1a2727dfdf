"""A packed model answers with the pixels of the stage `sample`, however it samples and whatever else is asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rediffuse.model import build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.randomness import seeded_global
from rediffuse.sampling import Sampling, class_mix
from rediffuse.serving.answers import UNLABELLED, Answers, Wanted, _counted
from rediffuse.serving.package import REFERENCE, SETTINGS, WEIGHTS, write_parts
from rediffuse.snapshots import planned, publish
from rediffuse.workspace import Workspace
from stages.sample import sample
from tests.data.planted import params_with

CLASSES = ("cat", "dog", "owl")


def tiny(**changes: Any) -> Params:
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


def trained(workspace: Workspace, params: Params, classes: tuple[str, ...]) -> Workspace:
    """A model and its snapshots, each with weights of its own that leave no image alike."""
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=classes, sigma_data=0.5)
    kept = workspace.root / "kept"
    for number, path in enumerate(
        [workspace.denoiser, workspace.raw, *(kept / each.file for each in planned(params.train))]
    ):
        with seeded_global(number, "weights"):
            denoiser = build_model(description, torch.device("cpu")).denoiser
            for parameter in denoiser.network.parameters():
                nn.init.normal_(parameter, std=0.3)
        save_model(path, description, denoiser)
    publish(kept, workspace.snapshots, planned(params.train))
    return workspace


def loaded(folder: Path) -> Answers:
    reference = folder / REFERENCE
    return Answers.load(folder / SETTINGS, folder / WEIGHTS, reference if reference.exists() else None)


POWER = {"train__ema": "power", "train__steps": 20, "train__ema_start": 0}


@pytest.mark.parametrize(
    ("changes", "classes", "files"),
    [
        ({}, CLASSES, {WEIGHTS, SETTINGS}),
        ({}, (), {WEIGHTS, SETTINGS}),
        ({"sample__classes": {"owl": 2.0, "cat": 1.0}}, CLASSES, {WEIGHTS, SETTINGS}),
        ({"sample__guidance": 2.0, "sample__guidance_levels": (0.1, 3.0)}, CLASSES, {WEIGHTS, SETTINGS}),
        ({"sample__sampler": "ode", "sample__tolerance": 0.3}, CLASSES, {WEIGHTS, SETTINGS}),
        ({"sample__sampler": "euler_maruyama", "sample__eta": 1.0, "sample__temperature": 0.9}, CLASSES, None),
        (
            {"sample__threshold": "dynamic", "sample__sampler": "heun", "sample__churn": 1.0},
            CLASSES,
            {WEIGHTS, SETTINGS},
        ),
        (
            {"sample__guidance": 2.0, "sample__guidance_reference": "snapshot", "sample__guidance_snapshot": 0.5},
            CLASSES,
            {WEIGHTS, SETTINGS, REFERENCE},
        ),
        ({"sample__ema_length": 0.07, **POWER}, CLASSES, {WEIGHTS, SETTINGS}),
    ],
)
def test_every_image_of_the_pipeline_is_answered_with_its_bytes(
    tmp_path: Path, changes: dict[str, Any], classes: tuple[str, ...], files: set[str] | None
) -> None:
    params = tiny(**changes)
    workspace = trained(Workspace.at(tmp_path), params, classes)
    sample(params, workspace)
    images, labels = np.load(workspace.sampled_images), np.load(workspace.sampled_labels)
    assert len(np.unique(images.reshape(6, -1), axis=0)) == 6

    packed = tmp_path / "packed"
    packed.mkdir()
    write_parts(packed, workspace, params.sample, params.runtime)
    assert files is None or {path.name for path in packed.iterdir()} == files
    for path in (workspace.denoiser, *workspace.snapshots.iterdir()):
        path.unlink()
    answers = loaded(packed)
    # In another order, among images of another seed, with labels and without.
    order = [4, 0, 5, 1, 3, 2]
    names = [classes[labels[i]] if classes and i % 2 else None for i in order]
    wanted = [Wanted(3, i, name) for i, name in zip(order, names, strict=True)]
    others = [Wanted(4, i) for i in order]
    given = answers.images([each for pair in zip(wanted, others, strict=True) for each in pair])
    assert np.array_equal(given[::2], images[order])
    assert not np.array_equal(given[1::2], images[order])
    assert np.array_equal(answers.images([Wanted(3, 2)])[0], images[2])


def test_another_label_is_another_image_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    params = tiny()
    workspace = trained(Workspace.at(tmp_path), params, CLASSES)
    write_parts(tmp_path, workspace, params.sample, params.runtime)
    answers = loaded(tmp_path)
    cat, dog = answers.images([Wanted(0, 0, "cat"), Wanted(0, 0, "dog")])
    assert not np.array_equal(cat, dog)
    assert answers.images([]) == []
    for wanted, message in (
        (Wanted(0, 0, "fish"), "label is 'fish'; the classes are cat, dog, owl"),
        (Wanted(0, -1), "index is -1; 0 or more is allowed"),
        (Wanted(0, UNLABELLED), "index is 100000; from 100000 on a label must be given"),
    ):
        with pytest.raises(ValueError, match=message):
            answers.images([wanted])


@pytest.mark.parametrize("shares", [None, {"owl": 2.0, "cat": 1.0}])
def test_the_mix_of_classes_is_counted_once_for_all_who_ask_up_to_there(
    monkeypatch: pytest.MonkeyPatch, shares: dict[str, float] | None
) -> None:
    params = tiny()
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=CLASSES, sigma_data=0.5)
    model, counted = build_model(description, torch.device("cpu")), []
    sampling = Sampling.of(model, params.sample, torch.device("cpu"))
    monkeypatch.setattr(Sampling, "chosen", lambda _self, labels, *_: [np.array(each) for each in labels])
    monkeypatch.setattr("rediffuse.serving.answers.class_mix", lambda n, *of: counted.append(n) or class_mix(n, *of))
    _counted.cache_clear()
    answers = Answers(model, sampling, shares)
    expected = class_mix(700, CLASSES, shares)
    for index in (699, 3, 0, 640, 699):
        assert answers.images([Wanted(0, index)]) == [expected[index]]
    assert counted == [1024, 4, 1]


def test_a_gpu_that_was_asked_for_is_not_asked_of_who_answers(tmp_path: Path) -> None:
    params = tiny()
    workspace = trained(Workspace.at(tmp_path), params, ())
    for device, kept in (("cuda", "auto"), ("auto", "auto"), ("cpu", "cpu")):
        write_parts(tmp_path, workspace, params.sample, params.runtime.model_copy(update={"device": device}))
        assert json.loads((tmp_path / SETTINGS).read_text())["runtime"]["device"] == kept
