"""The section `sample`, and which of its keys go together."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rediffuse.params.sections import Count, Positive, Section, Share, Weight

SamplerName = Literal[
    "ancestral",
    "ddim",
    "heun",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "euler_maruyama",
    "reverse_diffusion",
    "annealed_langevin",
    "ode",
]
Level = Annotated[float, Field(ge=0, le=1e9)]
Levels = Annotated[
    tuple[Level, Level], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


def _by_name(value: object) -> object:
    """Weights of classes by name, also where a number was written without quotes, as `dvc exp run -S` does."""
    if not isinstance(value, dict):
        return value
    named = {str(key) if type(key) is int else key: weight for key, weight in value.items()}
    if len(named) < len(value):
        raise ValueError("sample.classes names a class twice, once in quotes and once without; keep one")
    return named


# A corrector can stand between their steps, because each of them needs nothing of the steps before.
SINGLE_STEP = ("ancestral", "ddim", "euler_maruyama", "reverse_diffusion")


class SampleParams(Section):
    count: Count
    classes: Annotated[Annotated[dict[str, Weight], Field(min_length=1)] | None, BeforeValidator(_by_name)]
    seed: int
    sampler: SamplerName
    grid: Literal["uniform", "uniform_log_snr", "trailing", "karras", "discrete"]
    steps: Count
    eta: Annotated[float, Field(ge=0, le=10)]
    variance: Literal["posterior", "process"]
    churn: Annotated[float, Field(ge=0, le=1e9)]
    churn_levels: Levels | None
    churn_noise: Positive
    corrector_steps: Annotated[int, Field(ge=0, le=100)]
    corrector_snr: Positive
    langevin_steps: Count
    langevin_step: Annotated[float, Field(gt=0, lt=1)]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    temperature: Annotated[float, Field(ge=0, le=10)]
    threshold: Literal["none", "static", "dynamic"]
    threshold_quantile: Annotated[float, Field(gt=0, le=1)]
    guidance: Annotated[float, Field(ge=0, le=100)]
    guidance_reference: Literal["label", "snapshot"]
    guidance_snapshot: Share
    guidance_levels: Levels | None
    ema_length: Annotated[float, Field(gt=0, lt=0.28)] | None
    batch_size: Count

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        sampler = f"sample.sampler {self.sampler}"
        if self.sampler == "ddim" and self.eta > 1:
            raise ValueError(
                f"sample.eta is {self.eta}, but {sampler} takes 0 to 1; use at most 1, or the sampler euler_maruyama"
            )
        if self.sampler not in ("ddim", "euler_maruyama") and self.eta != 0:
            raise ValueError(
                f"sample.eta is {self.eta}, but {sampler} has none; use 0, or the sampler ddim or euler_maruyama"
            )
        if self.sampler != "ancestral" and self.variance != "posterior":
            raise ValueError(
                f"sample.variance is {self.variance}, but {sampler} has no choice of it; "
                "use posterior, or the sampler ancestral"
            )
        if self.sampler != "heun" and self.churn != 0:
            raise ValueError(f"sample.churn is {self.churn}, but {sampler} has none; use 0, or the sampler heun")
        if self.corrector_steps and self.sampler not in SINGLE_STEP:
            raise ValueError(
                f"sample.corrector_steps is {self.corrector_steps}, but {sampler} can't be corrected between its "
                f"steps; use 0, or one of the samplers {', '.join(SINGLE_STEP)}"
            )
        for key, levels in (("churn_levels", self.churn_levels), ("guidance_levels", self.guidance_levels)):
            if levels and levels[0] >= levels[1]:
                raise ValueError(f"sample.{key} is {list(levels)}: the first must be below the second")
        return self

    def why_not_guided(self, *, label_drop: float, snapshots: int) -> str | None:
        """Why no guidance scale but 1 can be sampled, and what to change; None where any can.

        Args:
            label_drop, snapshots: of the section `train`.
        """
        if self.guidance_reference == "label" and label_drop == 0:
            return "with train.label_drop 0 the model never learns to go without a label; use train.label_drop above 0"
        if self.guidance_reference == "snapshot" and snapshots == 0:
            return (
                "sample.guidance_reference is snapshot and train.snapshots 0; use the reference label, or "
                "train.snapshots above 0"
            )
        if self.sampler == "ode" and self.guidance_levels:
            return (
                f"sample.sampler ode can't bound its error across the ends of sample.guidance_levels "
                f"{list(self.guidance_levels)}; use null there, or another sampler"
            )
        return None
