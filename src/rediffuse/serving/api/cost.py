"""What images cost: how often the network sees one."""

from collections.abc import Sequence

from rediffuse.params import SampleParams
from rediffuse.serving.answers import Answers, batches
from rediffuse.serving.api.settings import ApiSettings
from rediffuse.serving.wanted import Settings, Wanted

_ODE_STEP, _ODE_WAY = 7, 300
"""Of the adaptive solver: a step's stages, at least one step between two times of the grid; and what the way takes
beside them at the usual tolerance. Only the images themselves decide how many there are."""


def most_evaluations(limits: ApiSettings, answers: Answers) -> int:
    """Of the network, for one request: what one batch takes as the model has it in any case."""
    own = answers.settings
    return max(limits.evaluations, answers.batch_size * _passes(answers.sample, own, 0, composed=False))


def evaluations(answers: Answers, images: Sequence[Wanted]) -> int:
    """Images that the network sees to draw these, at most: each batch is drawn full, whatever is asked for of it."""
    total = 0
    for rows in batches(answers, images):
        one = images[rows[0]]
        composed = len(one.terms) > 1 or any(term.weight != 1 for term in one.terms)
        total += answers.batch_size * _passes(answers.sample, one.settings, len(one.terms), composed=composed)
    return total


def _passes(own: SampleParams, settings: Settings, terms: int, *, composed: bool) -> int:
    """Of a batch: guidance looks twice, a composition of n classes n + 1 times, and so does the snapshot that it is
    guided by.
    """
    guided = settings.guidance != 1
    looks = terms + 1 if composed else 1 + guided
    if composed and guided and own.guidance_reference == "snapshot":
        looks *= 2
    return looks * _sampler_passes(own, settings)


def _sampler_passes(own: SampleParams, settings: Settings) -> int:
    """Of one network: Heun's method looks at both ends of a step, and the model's own sampler may have extras."""
    steps = settings.steps
    if settings.sampler == "heun":
        return 2 * steps
    if settings.sampler != own.sampler:
        return steps
    if settings.sampler == "annealed_langevin":
        return own.langevin_steps * steps + 1
    if settings.sampler == "ode":
        return _ODE_STEP * steps + _ODE_WAY
    return (1 + own.corrector_steps) * steps
