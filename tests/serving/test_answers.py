"""A packed model answers with the pixels of the stage `sample`, however it samples and whatever else is asked for."""

import dataclasses
import json
import re
from itertools import permutations, starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rediffuse.errors import UserError
from rediffuse.networks import Condition
from rediffuse.prompts import Term
from rediffuse.randomness import generator
from rediffuse.sampling import class_mix
from rediffuse.serving.answers import KEPT, UNLABELLED, Answers, _counted, _Pictures
from rediffuse.serving.package import REFERENCE, SETTINGS, WEIGHTS, write_parts
from rediffuse.serving.wanted import NotAllowedError, Origin
from rediffuse.workspace import Workspace
from stages.sample import sample
from tests.serving.tiny import CLASSES, asked, loaded, tiny, trained

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
    wanted = [asked(answers, 3, i, name) for i, name in zip(order, names, strict=True)]
    others = [asked(answers, 4, i) for i in order]
    given = answers.images([each for pair in zip(wanted, others, strict=True) for each in pair])
    assert np.array_equal(given[::2], images[order])
    assert not np.array_equal(given[1::2], images[order])
    assert np.array_equal(answers.images([asked(answers, 3, 2)])[0], images[2])


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    params, folder = tiny(), tmp_path_factory.mktemp("model")
    write_parts(folder, trained(Workspace.at(folder), params, CLASSES), params.sample, params.runtime)
    return loaded(folder)


def test_another_label_is_another_image_and_what_can_not_be_drawn_names_its_field(answers: Answers) -> None:
    cat, dog = answers.images([asked(answers, 0, 0, "cat"), asked(answers, 0, 0, "dog")])
    assert not np.array_equal(cat, dog)
    assert answers.images([]) == []
    for field, message, changes in (
        ("label", "label is 'fish'; the classes are cat, dog, owl", {"label": "fish"}),
        ("sampler", "sampler is 'magic'; this model can be asked for dpmpp_2m", {"settings": {"sampler": "magic"}}),
        ("steps", "steps is 0", {"settings": {"steps": 0}}),
        ("guidance", "guidance is -1.0", {"settings": {"guidance": -1.0}}),
        ("temperature", "temperature is nan", {"settings": {"temperature": float("nan")}}),
        ("share", "share is 0.5, but there is no other seed", {"share": 0.5}),
        ("share", "share is 2; 0 to 1", {"towards": Origin(1), "share": 2}),
    ):
        with pytest.raises(NotAllowedError, match=message) as refused:
            answers.images([asked(answers, 0, **changes)])
        assert refused.value.field == field
    for index, message in ((-1, "0 or more is allowed"), (UNLABELLED, "from 100000 on a label must be given")):
        with pytest.raises(NotAllowedError, match=message):
            answers.label_at(index)


def test_no_image_depends_on_the_others_of_any_kind(answers: Answers) -> None:
    """Walks, compositions, other samplers and scales, drawn together and each alone."""
    wanted = [
        asked(answers, 5, 0),
        asked(answers, 5, 0, towards=Origin(6, 1), share=0.3),
        asked(answers, 5, 0, terms=()),
        asked(answers, 5, 0, terms=(Term("cat"), Term("owl", 0.5))),
        asked(answers, 6, 0, terms=(Term("dog"), Term("owl", -0.5))),
        asked(answers, 5, 0, terms=(Term("cat", 1.3),)),
        *(asked(answers, 5, 0, settings={"sampler": name}) for name in answers.samplers),
        asked(answers, 5, 0, settings={"guidance": 2.0}),
        asked(answers, 5, 0, settings={"steps": 3, "temperature": 0.5}),
    ]
    together = answers.images(wanted)
    assert len({image.tobytes() for image in together}) > 10  # some samplers meet in two steps
    for each, image in zip(wanted, together, strict=True):
        assert np.array_equal(answers.images([each])[0], image)


def test_the_order_of_classes_changes_no_bit_of_an_image(answers: Answers) -> None:
    def drawn(*terms: Term) -> torch.Tensor:
        *_, last = answers.moments([asked(answers, 2, terms=terms)])
        assert isinstance(last.pictures, _Pictures)
        return last.pictures.step.x

    first, *others = starmap(drawn, permutations((Term("cat"), Term("dog", 0.7), Term("owl", -1.3))))
    assert len(others) == 5
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("reference", ["label", "snapshot"])
def test_a_composition_is_the_formula_of_its_passes_inside_the_guided_levels_and_outside(
    tmp_path: Path, reference: str
) -> None:
    """D(none) + sum of w_i (D_i - D(none)), led away from D(none) or from the same of the snapshot, image by image."""
    changes = {"sample__guidance_reference": reference, "sample__guidance_snapshot": 0.5, "sample__guidance": 3.0}
    params = tiny(sample__threshold="static", sample__guidance_levels=(0.1, 3.0), **changes)
    write_parts(tmp_path, trained(Workspace.at(tmp_path), params, CLASSES), params.sample, params.runtime)
    answers = loaded(tmp_path)
    labels, weights = np.array([[0, 1], [2, 0], [1, 2]]), np.array([[1.0, 0.5], [2.0, -0.5], [0.3, 1.0]])
    sampling = answers._sampling(answers.settings)
    x = torch.randn(4, 1, 8, 8, generator=generator(0, "x")) * 0.3
    networks = [answers.model.denoiser, *([answers.reference] if answers.reference else [])]
    with torch.no_grad():
        for sigma, scale in ((0.05, 1.0), (1.0, 3.0)):
            t = torch.full((4,), sigma)

            def passes(denoiser: Any, each: list[int], t: torch.Tensor = t) -> torch.Tensor:
                return denoiser(x, t, Condition(labels=torch.tensor(each)))

            none = [passes(network, [-1] * 4) for network in networks]
            sums = [
                sum(
                    torch.tensor([*w, w[-1]])[:, None, None, None] * (passes(network, [*each, each[-1]]) - base)
                    for each, w in zip(labels.T.tolist(), weights.T.tolist(), strict=True)
                )
                for network, base in zip(networks, none, strict=True)
            ]
            own, worse = none[0] + sums[0], (none[1] + sums[1]) if answers.reference else none[0]
            expected = (worse + scale * (own - worse)).clamp(-1, 1)
            assert float((expected.abs() < 1).float().mean()) > 0.05
            found = sampling.composed(labels, weights).denoiser(x, t, Condition(labels=torch.tensor([0, 2, 1, 1])))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_walk_goes_from_one_image_exactly_to_the_other(answers: Answers) -> None:
    stochastic = {"sampler": "euler_maruyama"}
    for settings in ({}, stochastic):
        ends = answers.images([asked(answers, seed, label="cat", settings=settings) for seed in (1, 2)])
        shares = (0.0, 0.5, 1.0)
        walk = answers.images(
            [asked(answers, 1, label="cat", towards=Origin(2), share=share, settings=settings) for share in shares]
        )
        assert np.array_equal(walk[0], ends[0])
        assert np.array_equal(walk[2], ends[1])
        assert not any(np.array_equal(walk[1], end) for end in ends)


def test_one_class_with_a_weight_is_guidance_of_that_scale_up_to_rounding(answers: Answers) -> None:
    weighted = asked(answers, 1, terms=(Term("cat", 2.0),))
    guided = asked(answers, 1, label="cat", settings={"guidance": 2.0})
    one, other = (image.astype(int) for image in answers.images([weighted, guided]))
    assert abs(one - other).max() <= 1
    plain = answers.images([asked(answers, 1, label="cat")])[0].astype(int)
    assert abs(one - plain).max() > 1


def test_a_batch_is_seen_on_its_way_and_ends_as_its_images(answers: Answers) -> None:
    wanted = [asked(answers, 3, index) for index in range(3)]
    moments = list(answers.moments(wanted))
    assert [(moment.done, moment.of) for moment in moments] == [(0, 2), (1, 2), (2, 2)]
    assert moments[0].level > moments[1].level > moments[2].level == 0
    assert np.array_equal(moments[-1].pictures(), np.stack(answers.images(wanted)))
    assert moments[0].pictures().shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match="5 images of 1 kinds are no batch of 4"):
        next(answers.moments([wanted[0]] * 5))


def test_a_model_that_never_went_without_a_label_is_asked_for_one_class_alone(answers: Answers) -> None:
    why = "train.label_drop is 0"
    never = dataclasses.replace(answers, unguided=why, needs_label=why, _ready={})
    # Guidance by a snapshot goes without no label.
    by_snapshot = dataclasses.replace(
        answers, sample=answers.sample.model_copy(update={"guidance_reference": "snapshot"}), needs_label=why, _ready={}
    )
    for model in (never, by_snapshot):
        assert len(model.images([asked(model, 1)])) == 1
        for terms in ((), (Term("cat", 2.0),), (Term("cat"), Term("dog"))):
            with pytest.raises(NotAllowedError, match=re.escape(why)):
                model.images([asked(model, 1, terms=terms)])
    with pytest.raises(NotAllowedError, match=re.escape(why)):
        never.images([asked(never, 1, settings={"guidance": 2.0})])
    # A scale that can't be asked for is nothing that a composition needs.
    unguided = dataclasses.replace(answers, unguided="the sampler is ode", _ready={})
    unguided.check_terms(())
    assert len(unguided.images([asked(unguided, 1, terms=(Term("cat", 2.0),))])) == 1


@pytest.mark.parametrize("shares", [None, {"owl": 2.0, "cat": 1.0}])
def test_the_mix_of_classes_is_counted_once_for_all_who_ask_up_to_there(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, shares: dict[str, float] | None
) -> None:
    counted: list[int] = []
    monkeypatch.setattr("rediffuse.serving.answers.class_mix", lambda n, *of: counted.append(n) or class_mix(n, *of))
    _counted.cache_clear()
    ours = dataclasses.replace(answers, sample=answers.sample.model_copy(update={"classes": shares}))
    expected = class_mix(700, CLASSES, shares)
    for index in (699, 3, 0, 640, 699):
        assert ours.label_at(index) == CLASSES[expected[index]]
    assert counted == [1024, 4, 1]


def test_the_ways_of_sampling_that_were_asked_for_last_stay_ready_and_no_more(answers: Answers) -> None:
    model = dataclasses.replace(answers, _ready={})
    ways = [dataclasses.replace(model.settings, steps=steps) for steps in range(1, KEPT + 2)]
    ready = [model._sampling(way) for way in ways[:KEPT]]
    assert model._sampling(ways[0]) is ready[0]
    model._sampling(ways[KEPT])
    assert list(model._ready) == [*ways[2:KEPT], ways[0], ways[KEPT]]


def test_another_sampler_comes_without_the_extras_of_the_model_s_own(answers: Answers) -> None:
    own = answers.sample.model_copy(update={"sampler": "heun", "churn": 1.0, "grid": "uniform"})
    model = dataclasses.replace(answers, sample=own, _ready={})
    plain = dataclasses.replace(answers, _ready={})
    drawn = [each.images([asked(each, 1, settings={"sampler": "ddim"})])[0] for each in (model, plain)]
    assert np.array_equal(*drawn)


def test_a_gpu_that_was_asked_for_is_not_asked_of_who_answers(tmp_path: Path) -> None:
    params = tiny()
    workspace = trained(Workspace.at(tmp_path), params, ())
    for device, kept in (("cuda", "auto"), ("auto", "auto"), ("cpu", "cpu")):
        write_parts(tmp_path, workspace, params.sample, params.runtime.model_copy(update={"device": device}))
        assert json.loads((tmp_path / SETTINGS).read_text())["runtime"]["device"] == kept


def test_settings_of_another_version_are_a_line_that_names_the_key(tmp_path: Path) -> None:
    params = tiny()
    write_parts(tmp_path, trained(Workspace.at(tmp_path), params, CLASSES), params.sample, params.runtime)
    sections = json.loads((tmp_path / SETTINGS).read_text())
    del sections["runtime"]["profile"]
    (tmp_path / SETTINGS).write_text(json.dumps(sections))
    with pytest.raises(UserError, match=r"is of another version of rediffuse: runtime\.profile: Field required"):
        loaded(tmp_path)


def test_a_model_that_can_not_be_loaded_leaves_the_threads_as_its_settings_have_them(tmp_path: Path) -> None:
    params = tiny(runtime__threads=2)
    write_parts(tmp_path, trained(Workspace.at(tmp_path), params, CLASSES), params.sample, params.runtime)
    before = torch.get_num_threads()
    (tmp_path / WEIGHTS).write_bytes(b"none")
    try:
        with pytest.raises(UserError, match="not a safetensors file"):
            loaded(tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
