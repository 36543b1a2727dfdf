"""The points of a sweep: how one model is sampled otherwise, at other guidance scales, by other samplers and steps.

A point is a section `sample` of params.yaml, so that whatever it does not change is as in the stage `sample`.
"""

from dataclasses import dataclass
from typing import Any

from rediffuse.params import SampleParams, SweepParams, TrainParams
from rediffuse.params.evaluate import SweepStepsParams
from rediffuse.params.sampling import SINGLE_STEP

# Of all samplers: nothing that belongs to one of them alone.
_PLAIN: dict[str, Any] = {"eta": 0.0, "variance": "posterior", "churn": 0.0, "corrector_steps": 0}

SWEPT = tuple(SweepStepsParams.model_fields)
"""Samplers by name, that can be asked for so many steps of any process."""

# The reverse SDE; without noise it would be another way along the ODE.
_OWN: dict[str, dict[str, Any]] = {"euler_maruyama": {"eta": 1.0}}

# Paths whose noise-to-signal ratio goes on to e^10. Karras's grid would spend most of few steps where no image shows.
_TO_NOISE_ALONE = ("cosine", "flow")


@dataclass(frozen=True)
class GuidancePoint:
    """The stage's own sampler at another guidance scale."""

    scale: float
    sample: SampleParams


@dataclass(frozen=True)
class StepsPoint:
    """Another sampler, or other steps, with the stage's own guidance."""

    sampler: str
    steps: int
    sample: SampleParams


def why_not_guided(sample: SampleParams, train: TrainParams, *, labelled: bool) -> str | None:
    """Why the scale 1 alone can be swept; None where any can."""
    if not labelled and sample.guidance_reference == "label":
        return "the data has no labels to guide to"
    return sample.why_not_guided(label_drop=train.label_drop, snapshots=train.snapshots)


def guidance_points(sweep: SweepParams, sample: SampleParams, *, guidable: bool) -> tuple[GuidancePoint, ...]:
    """Those of `sweep.guidance`, in its order; of a model that can't be guided the scale 1 alone."""
    scales = [scale for scale in sweep.guidance if guidable or scale == 1]
    return tuple(GuidancePoint(scale, sample.model_copy(update={"guidance": scale})) for scale in scales)


def steps_points(sweep: SweepParams, sample: SampleParams, process: str) -> tuple[StepsPoint, ...]:
    """Those of `sweep.steps`, sampler by sampler in the order of params.yaml.

    Args:
        process: the name of the model's.
    """
    return tuple(
        StepsPoint(name, steps, sample.model_copy(update=plainly(name, process) | {"sampler": name, "steps": steps}))
        for name, listed in sweep.steps.model_dump().items()
        for steps in listed
    )


def best_grid(sampler: str, process: str) -> str:
    """The grid on which a sampler comes furthest with few steps of a process: see tests/test_sweep.py."""
    if process not in _TO_NOISE_ALONE:
        return "karras"
    return "uniform" if sampler in SINGLE_STEP else "uniform_log_snr"


def plainly(sampler: str, process: str) -> dict[str, Any]:
    """Keys of the section `sample` for a sampler without extras, on its best grid.

    Args:
        process: the name of the model's.
    """
    return {**_PLAIN, **_OWN.get(sampler, {}), "grid": best_grid(sampler, process)}
