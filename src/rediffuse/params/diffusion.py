"""The section `diffusion`: a preset, and the choices and constants that make a family of models."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rediffuse.params.sections import Count, Mean, Positive, Section

PositiveShare = Annotated[float, Field(gt=0, lt=1)]


class _Between(Section):
    """A range that its two keys must keep in order."""

    def _in_order(self, section: str, low: str, high: str) -> Self:
        if getattr(self, low) >= getattr(self, high):
            raise ValueError(
                f"diffusion.{section}.{low} is {getattr(self, low)}, "
                f"not below diffusion.{section}.{high} ({getattr(self, high)})"
            )
        return self


class DdpmParams(_Between):
    steps: Annotated[int, Field(ge=2, le=100_000)]
    beta_start: PositiveShare
    beta_end: Annotated[float, Field(gt=0, le=0.05)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return self._in_order("ddpm", "beta_start", "beta_end")


class _Rates(_Between):
    beta_min: Positive
    beta_max: Annotated[float, Field(gt=0, le=100)]


class VpParams(_Rates):
    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return self._in_order("vp", "beta_min", "beta_max")


class SubVpParams(_Rates):
    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return self._in_order("subvp", "beta_min", "beta_max")


class CosineParams(Section):
    offset: Annotated[float, Field(ge=0, le=0.1)]
    steps: Annotated[int, Field(ge=0, le=10_000)]


class VeParams(_Between):
    sigma_min: Positive
    sigma_max: Positive
    steps: Annotated[int, Field(ge=0, le=100_000)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return self._in_order("ve", "sigma_min", "sigma_max")


class EdmParams(_Between):
    sigma_min: Positive
    sigma_max: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return self._in_order("edm", "sigma_min", "sigma_max")


class LogNormalParams(Section):
    mean: Mean
    std: Positive


class LogitNormalParams(Section):
    mean: Mean
    std: Positive
    shift: Positive


class MinSnrParams(Section):
    gamma: Positive


class SigmoidParams(Section):
    bias: Mean


class DiffusionParams(Section):
    preset: Literal["ddpm", "ddpm_v", "ncsn", "vp_sde", "ve_sde", "subvp_sde", "iddpm", "edm", "edm2", "flow"]
    process: Literal["ddpm", "vp", "cosine", "subvp", "ve", "edm", "flow"]
    prediction: Literal["x0", "eps", "score", "v", "velocity", "edm"]
    weighting: Literal["plain", "snr", "min_snr", "edm", "likelihood", "ncsn", "sigmoid", "edm2"]
    noise_levels: Literal["uniform", "uniform_log_snr", "lognormal", "logitnormal"]
    spread: Literal["stratified", "antithetic", "independent"]
    ddpm: DdpmParams
    vp: VpParams
    subvp: SubVpParams
    cosine: CosineParams
    ve: VeParams
    edm: EdmParams
    lognormal: LogNormalParams
    logitnormal: LogitNormalParams
    min_snr: MinSnrParams
    sigmoid: SigmoidParams

    @model_validator(mode="after")
    def _published(self) -> Self:
        if self.weighting in ("likelihood", "sigmoid") and self.noise_levels != "uniform":
            raise ValueError(
                f"diffusion.weighting {self.weighting} is stated for times drawn uniformly, "
                f"but diffusion.noise_levels is {self.noise_levels}; use uniform, or another weighting"
            )
        return self

    @property
    def settings(self) -> Section:
        """The section of the chosen process; empty for one without constants."""
        chosen: Section = getattr(self, self.process, Section())
        return chosen

    @property
    def noise_level_settings(self) -> Section:
        """The section of the chosen noise levels; empty for those without constants."""
        chosen: Section = getattr(self, self.noise_levels, Section())
        return chosen

    @property
    def weighting_settings(self) -> Section:
        """The section of the chosen weighting; empty for one without constants."""
        return {"min_snr": self.min_snr, "sigmoid": self.sigmoid}.get(self.weighting, Section())

    @property
    def whole_steps(self) -> int:
        """How many times a process of discrete steps has; 0 where time is continuous."""
        count: Count = getattr(self.settings, "steps", 0)
        return count
