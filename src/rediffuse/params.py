"""params.yaml as typed, frozen, validated objects: a pipeline starts with sound parameters or not at all."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rediffuse import yaml12
from rediffuse.errors import UserError

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Sizes = Annotated[tuple[Count, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
Multipliers = Annotated[Sizes, Field(min_length=1)]
Weight = Annotated[float, Field(gt=0, le=1e6)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PrepareParams(_Section):
    source: Literal["digits", "idx", "folder"]
    path: Annotated[str, Field(min_length=1)]
    shard_rows: Annotated[int, Field(ge=1, le=1_000_000)]


class CleanParams(_Section):
    size: Annotated[int, Field(ge=4, le=1024)] | None
    channels: Literal[1, 3] | None
    max_rejected_share: Annotated[float, Field(ge=0, le=1)]


class SplitParams(_Section):
    val_share: Annotated[float, Field(gt=0, le=0.4)]
    test_share: Annotated[float, Field(gt=0, le=0.4)]


class ReferenceParams(_Section):
    width: Count
    features: Annotated[int, Field(ge=2)]
    steps: Count
    batch_size: Count
    lr: Positive


class UnetParams(_Section):
    width: Count
    multipliers: Multipliers
    blocks: Count
    attention_sizes: Sizes
    head_channels: Count
    groups: Count
    dropout: Share

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for multiplier in self.multipliers:
            channels = self.width * multiplier
            for key, divisor in (("groups", self.groups), ("head_channels", self.head_channels)):
                if channels % divisor:
                    raise ValueError(
                        f"model.unet.width × multiplier is {self.width} × {multiplier} = {channels}, "
                        f"not a multiple of model.unet.{key} ({divisor})"
                    )
        return self


class ArticleUnetParams(_Section):
    width: Annotated[int, Field(ge=4, multiple_of=4)]
    time_channels: Annotated[int, Field(ge=2, multiple_of=2)]


class ModelParams(_Section):
    name: Literal["unet", "article_unet"]
    precision: Literal["auto", "fp32", "bf16"]
    unet: UnetParams
    article_unet: ArticleUnetParams

    @property
    def settings(self) -> UnetParams | ArticleUnetParams:
        """The section of the chosen network."""
        chosen: UnetParams | ArticleUnetParams = getattr(self, self.name)
        return chosen


class DdpmParams(_Section):
    steps: Annotated[int, Field(ge=2, le=100_000)]
    beta_start: Annotated[float, Field(gt=0, lt=1)]
    beta_end: Annotated[float, Field(gt=0, le=0.05)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.beta_start >= self.beta_end:
            raise ValueError(
                f"diffusion.ddpm.beta_start is {self.beta_start}, not below diffusion.ddpm.beta_end ({self.beta_end})"
            )
        return self


class EdmParams(_Section):
    sigma_min: Positive
    sigma_max: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"diffusion.edm.sigma_min is {self.sigma_min}, not below diffusion.edm.sigma_max ({self.sigma_max})"
            )
        return self


class LogNormalParams(_Section):
    mean: float
    std: Positive


class DiffusionParams(_Section):
    process: Literal["ddpm", "edm"]
    prediction: Literal["x0", "eps", "v", "edm"]
    noise_levels: Literal["uniform", "lognormal"] | None
    ddpm: DdpmParams
    edm: EdmParams
    lognormal: LogNormalParams

    @property
    def settings(self) -> DdpmParams | EdmParams:
        """The section of the chosen process."""
        chosen: DdpmParams | EdmParams = getattr(self, self.process)
        return chosen


class TrainParams(_Section):
    steps: Count
    batch_size: Count
    microbatch: Count
    lr: Positive
    schedule: Literal["onecycle", "cosine", "constant"]
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    grad_clip: Positive
    ema_decay: Share
    ema_start: Whole
    label_drop: Annotated[float, Field(ge=0, le=1)]
    horizontal_flip: bool
    log_every: Count
    validate_every: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.microbatch:
            raise ValueError(
                f"train.batch_size is {self.batch_size}, not a multiple of train.microbatch ({self.microbatch})"
            )
        if self.ema_start >= self.steps:
            raise ValueError(
                f"train.ema_start is {self.ema_start}, not below train.steps ({self.steps}): "
                "the averaged weights would be the raw ones"
            )
        return self


class SampleParams(_Section):
    count: Count
    classes: Annotated[dict[str, Weight], Field(min_length=1)] | None
    seed: int
    sampler: Literal["ancestral", "ddim", "heun"]
    grid: Literal["uniform", "karras"] | None
    steps: Count
    eta: Annotated[float, Field(ge=0, le=1)]
    guidance: Annotated[float, Field(ge=0, le=100)]
    batch_size: Annotated[int, Field(ge=4)]


class EvaluateParams(_Section):
    neighbours: Count
    manifold_points: Annotated[int, Field(ge=2)]
    kid_subsets: Count
    kid_subset_size: Annotated[int, Field(ge=2)]
    noise_levels: Annotated[int, Field(ge=2, le=1000)]

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.manifold_points <= self.neighbours:
            raise ValueError(
                f"evaluate.manifold_points is {self.manifold_points}, not above evaluate.neighbours ({self.neighbours})"
            )
        return self


class RuntimeParams(_Section):
    device: Literal["auto", "cpu", "cuda"]
    threads: Count
    tracking: bool
    progress: bool
    checkpoint_every: Count
    preview_every: Whole


class Params(_Section):
    """All parameters. `params.yaml` says what each one means, its unit and its range.

    No stage lists `runtime` in dvc.yaml: its keys say where and how visibly a stage runs, not what it makes. (Another
    device or number of threads gives other last bits, no other result.)
    """

    seed: int
    prepare: PrepareParams
    clean: CleanParams
    split: SplitParams
    reference: ReferenceParams
    model: ModelParams
    diffusion: DiffusionParams
    train: TrainParams
    sample: SampleParams
    evaluate: EvaluateParams
    runtime: RuntimeParams

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        sample, diffusion = self.sample, self.diffusion
        if sample.guidance != 1 and self.train.label_drop == 0:
            raise ValueError(
                f"sample.guidance is {sample.guidance}, but with train.label_drop 0 the model never learns to go "
                "without a label; use sample.guidance 1 or train.label_drop above 0"
            )
        if diffusion.process == "ddpm" and sample.grid != "karras" and sample.steps > diffusion.ddpm.steps:
            raise ValueError(
                f"sample.steps is {sample.steps}, more than diffusion.ddpm.steps ({diffusion.ddpm.steps}) has"
            )
        if sample.sampler != "ddim" and sample.eta != 0:
            raise ValueError(
                f"sample.eta is {sample.eta}, but sample.sampler {sample.sampler} has none; use 0, or the sampler ddim"
            )
        return self

    def tracked(self) -> dict[str, Any]:
        """Every parameter that may decide a result, nested: all but `runtime`."""
        return self.model_dump(exclude={"runtime"})


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: a key is unknown, missing, of the wrong type or out of range, or two keys can't go together.
    """
    document = yaml12.load(path)
    if not isinstance(document, dict):
        raise UserError(f"{path.name}: a mapping of sections is expected, not {type(document).__name__}")
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        # A mistyped key is also a missing one: the former says more.
        problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
        first, *others = problems
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{path.name}: {_explain(first)}{more}") from None


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}: the names by which `dvc exp run -S` and MLflow know a parameter."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _explain(error: ErrorDetails) -> str:
    """One problem in one line, by the key's dotted name."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
        return f"{key} is not a known key" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key} is {error['input']!r}: {message}"


def known_keys() -> tuple[str, ...]:
    """The dotted name of every parameter."""
    return tuple(_keys(Params, ""))


def _keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        yield prefix + name
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _keys(annotation, f"{prefix}{name}.")
