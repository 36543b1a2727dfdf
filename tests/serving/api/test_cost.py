"""The budget of a request bounds what is drawn: no way of asking takes more than was counted."""

from dataclasses import replace
from typing import Any

import pytest

from rediffuse.diffusion import NetworkDenoiser
from rediffuse.serving.answers import Answers
from rediffuse.serving.api.cost import evaluations
from rediffuse.serving.request import ImageRequest, wanted
from tests.serving.api.conftest import Api


@pytest.fixture
def seen(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images that any network has seen, pass by pass."""
    passes: list[int] = []
    plain = NetworkDenoiser.__call__

    def counted(self: NetworkDenoiser, x_t: Any, *rest: Any) -> Any:
        passes.append(len(x_t))
        return plain(self, x_t, *rest)

    monkeypatch.setattr(NetworkDenoiser, "__call__", counted)
    return passes


def answers(api: Api, **sample: Any) -> Answers:
    known = api.models.current().answers
    reference = known.model.denoiser if "guidance_reference" in sample else None
    changed = known.sample.model_copy(update=sample)
    return replace(known, reference=reference, sample=changed, unguided=None, _ready={})


@pytest.mark.parametrize(
    ("sample", "asked"),
    [
        ({}, {"prompt": "owl", "count": 6}),
        ({}, {"prompt": "owl", "guidance": 2.0}),
        ({}, {"prompt": "owl and (cat:0.5)", "guidance": 2.0}),
        ({}, {"prompt": "owl and cat and (dog:0.5)", "sampler": "heun", "steps": 3}),
        ({}, {"prompt": "{owl|owl and cat}", "count": 3, "sampler": "ancestral"}),
        ({"guidance_reference": "snapshot"}, {"prompt": "owl", "guidance": 2.0}),
        ({"guidance_reference": "snapshot"}, {"prompt": "owl and (cat:0.5)", "guidance": 2.0}),
        ({"sampler": "ancestral", "corrector_steps": 3}, {"prompt": "owl", "steps": 4}),
        ({"sampler": "ancestral", "corrector_steps": 3}, {"prompt": "owl", "steps": 4, "sampler": "ddim"}),
        ({"sampler": "ode", "tolerance": 1e-3}, {"prompt": "owl", "steps": 12}),
    ],
)
def test_no_request_takes_more_evaluations_than_it_is_counted_for(
    api: Api, seen: list[int], sample: dict[str, Any], asked: dict[str, Any]
) -> None:
    model = answers(api, **sample)
    images = wanted(ImageRequest(seed=1, **asked), model, 16)
    model.images(images)
    counted = evaluations(model, images)
    assert counted >= sum(seen)
    # Nor is anybody refused for what would not be taken; the last step of Heun is one look.
    assert "ode" in sample.values() or counted <= 1.2 * sum(seen)
