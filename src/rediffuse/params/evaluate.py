"""The section `evaluate`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rediffuse.params.sampling import SamplerName
from rediffuse.params.sections import Count, Section


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


class EvaluateParams(Section):
    neighbours: Count
    manifold_points: Annotated[int, Field(ge=2, le=1_000_000_000)]
    kid_subsets: Count
    kid_subset_size: Annotated[int, Field(ge=2, le=1_000_000_000)]
    noise_levels: Annotated[int, Field(ge=2, le=1000)]
    likelihood: LikelihoodParams

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.manifold_points <= self.neighbours:
            raise ValueError(
                f"evaluate.manifold_points is {self.manifold_points}, not above evaluate.neighbours ({self.neighbours})"
            )
        return self
