"""The sections `evaluate`, `sweep` and `register`: what is asked of a model."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rediffuse.params.sampling import SamplerName
from rediffuse.params.sections import Count, Section, Sizes, as_tuple
from rediffuse.rules import Rule, parse_name
from rediffuse.score_names import check_name


class LikelihoodParams(Section):
    method: Literal["ode", "bound", "none"]
    solver: SamplerName
    steps: Count
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    images: Annotated[int, Field(ge=2, le=1_000_000_000)]

    @model_validator(mode="after")
    def _deterministic(self) -> Self:
        if self.method == "ode" and self.solver not in ("ode", "heun"):
            raise ValueError(
                f"evaluate.likelihood.solver is {self.solver}, which can't carry a density, as "
                "evaluate.likelihood.method ode asks for; use the solver ode or heun, or the method bound or none"
            )
        return self


Conditions = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Aspect = Literal["fidelity", "diversity", "class_consistency", "memorisation", "likelihood"]


def _check_conditions(key: str, conditions: Iterable[str]) -> None:
    """Refuse what is no condition, or one on a score that no run can have."""
    for condition in conditions:
        try:
            for name in Rule.parse(condition).names:
                check_name(name)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None


class MemorisationParams(Section):
    membership_images: Annotated[int, Field(ge=0, le=1_000_000_000)]
    membership_levels: Annotated[int, Field(ge=1, le=1000)]


class VerdictParams(Section):
    fidelity: Conditions
    diversity: Conditions
    class_consistency: Conditions
    memorisation: Conditions
    likelihood: Conditions

    @model_validator(mode="after")
    def _known(self) -> Self:
        for aspect, conditions in self:
            _check_conditions(f"evaluate.verdicts.{aspect}", conditions)
        return self


class EvaluateParams(Section):
    neighbours: Count
    coverage_neighbours: Count
    manifold_points: Annotated[int, Field(ge=2, le=1_000_000_000)]
    kid_subsets: Count
    kid_subset_size: Annotated[int, Field(ge=2, le=1_000_000_000)]
    noise_levels: Annotated[int, Field(ge=2, le=1000)]
    likelihood: LikelihoodParams
    memorisation: MemorisationParams
    verdicts: VerdictParams
    fail_on: Annotated[tuple[Aspect, ...], BeforeValidator(as_tuple)]

    @model_validator(mode="after")
    def _enough(self) -> Self:
        for key in ("neighbours", "coverage_neighbours"):
            if self.manifold_points <= getattr(self, key):
                raise ValueError(
                    f"evaluate.manifold_points is {self.manifold_points}, "
                    f"not above evaluate.{key} ({getattr(self, key)})"
                )
        return self


class SweepStepsParams(Section):
    ddim: Sizes
    dpmpp_2m: Sizes
    heun: Sizes
    ancestral: Sizes
    dpmpp_2m_sde: Sizes
    euler_maruyama: Sizes
    reverse_diffusion: Sizes


class SweepParams(Section):
    count: Count
    guidance: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], BeforeValidator(as_tuple)]
    steps: SweepStepsParams

    @property
    def used(self) -> bool:
        """Whether there is any point to draw."""
        return bool(self.guidance or any(self.steps.model_dump().values()))

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        lists = {"guidance": self.guidance, **{f"steps.{name}": each for name, each in self.steps.model_dump().items()}}
        for key, values in lists.items():
            if len(set(values)) < len(values):
                raise ValueError(f"sweep.{key} is {list(values)}: each may stand once")
        return self


class RegisterParams(Section):
    enabled: bool
    # What MLflow takes for the name of a model, and for an alias.
    name: Annotated[str, Field(pattern=r"^[^/:]*[^/:.\s][^/:]*$", max_length=250)] | None
    require: Conditions
    metric: Annotated[str, Field(min_length=1)]
    better: Literal["lower", "higher"]
    alias: Annotated[str, Field(pattern=r"^[\w\-]+$", max_length=250)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_conditions("register.require", self.require)
        try:
            check_name(parse_name(self.metric))
        except ValueError as error:
            raise ValueError(f"register.metric: {error}") from None
        return self

    @model_validator(mode="after")
    def _free(self) -> Self:
        if re.fullmatch(r"latest|v\d+", self.alias, re.IGNORECASE):
            raise ValueError(f"register.alias is {self.alias!r}, which MLflow keeps for itself; use another word")
        return self
