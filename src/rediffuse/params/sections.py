"""The sections of params.yaml for networks, training and runtime, each sound by itself."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Mean = Annotated[float, Field(ge=-100, le=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Whole = Annotated[int, Field(ge=0, le=1_000_000_000)]
Channels = Annotated[int, Field(ge=1, le=16_384)]
Weight = Annotated[float, Field(gt=0, le=1e6)]


def as_tuple(value: object) -> object:
    """A YAML list as the tuple that a frozen section keeps."""
    return tuple(value) if isinstance(value, list) else value


Sizes = Annotated[tuple[Count, ...], BeforeValidator(as_tuple)]
Multipliers = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=10)
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class UnetParams(Section):
    patch: Annotated[int, Field(ge=1, le=64)]
    width: Channels
    multipliers: Multipliers
    blocks: Annotated[int, Field(ge=1, le=100)]
    attention_sizes: Sizes
    head_channels: Count
    groups: Count
    dropout: Share

    @property
    def size_factor(self) -> int:
        """What the images' height and width must be a multiple of, to be cut and then halved between the levels."""
        factor: int = self.patch * 2 ** (len(self.multipliers) - 1)
        return factor

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        divisors = {"groups": self.groups}
        if self.attention_sizes:
            divisors["head_channels"] = self.head_channels
        for multiplier in self.multipliers:
            channels = self.width * multiplier
            for key, divisor in divisors.items():
                if channels % divisor:
                    raise ValueError(
                        f"model.unet.width × multiplier is {self.width} × {multiplier} = {channels}, "
                        f"not a multiple of model.unet.{key} ({divisor})"
                    )
        return self


class ArticleUnetParams(Section):
    width: Annotated[int, Field(ge=4, le=16_384, multiple_of=4)]
    time_channels: Annotated[int, Field(ge=2, le=16_384, multiple_of=2)]

    @property
    def size_factor(self) -> int:
        """As the other network's, for three halvings."""
        return 8


class ModelParams(Section):
    name: Literal["unet", "article_unet"]
    size: Literal["tiny", "small", "base"]
    precision: Literal["auto", "fp32", "bf16"]
    unet: UnetParams
    article_unet: ArticleUnetParams

    @property
    def settings(self) -> UnetParams | ArticleUnetParams:
        """The section of the chosen network."""
        chosen: UnetParams | ArticleUnetParams = getattr(self, self.name)
        return chosen


class GuardParams(Section):
    non_finite: Literal["stop", "skip"]
    spike: Annotated[float, Field(gt=1, le=1e9)] | None
    on_spike: Literal["stop", "skip"]


class TrainParams(Section):
    steps: Count
    batch_size: Count
    microbatch: Count
    lr: Positive
    schedule: Literal["onecycle", "cosine", "constant"]
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0, le=1e9)]
    grad_clip: Positive
    ema: Literal["constant", "power"]
    ema_decay: Share
    ema_start: Whole
    ema_length: Annotated[float, Field(gt=0, lt=0.28)]
    snapshots: Annotated[int, Field(ge=0, le=1000)]
    label_drop: Annotated[float, Field(ge=0, le=1)]
    horizontal_flip: bool
    canaries: Annotated[int, Field(ge=0, le=10_000)]
    canary_repeats: Annotated[int, Field(ge=1, le=10_000)]
    shard: bool
    guard: GuardParams
    log_every: Count
    validate_every: Count
    validate_images: Count

    @property
    def microbatches(self) -> int:
        """Of a step."""
        return self.batch_size // self.microbatch

    def why_not_shared(self, processes: int) -> str | None:
        """Why so many processes can't share the microbatches of a step evenly, as a clause; None where they can."""
        if self.microbatches % processes == 0:
            return None
        return (
            f"train.batch_size {self.batch_size} and train.microbatch {self.microbatch} make {self.microbatches} "
            "microbatches a step, which so many can't share evenly"
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.microbatch:
            raise ValueError(
                f"train.batch_size is {self.batch_size}, not a multiple of train.microbatch ({self.microbatch})"
            )
        if self.ema == "constant" and self.ema_start >= self.steps:
            raise ValueError(
                f"train.ema_start is {self.ema_start}, not below train.steps ({self.steps}): "
                "the averaged weights would be the raw ones"
            )
        if self.snapshots > self.steps:
            raise ValueError(f"train.snapshots is {self.snapshots}, more than train.steps ({self.steps})")
        if self.ema == "power" and self.snapshots < 2:
            raise ValueError(
                f"train.ema is power, but train.snapshots is {self.snapshots}: the averaged weights are computed from "
                "snapshots; use at least 2, or the ema constant"
            )
        return self


class RuntimeParams(Section):
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    profile: Literal["auto", "plain", "channels_last", "compiled", "graphs"]
    workers: Annotated[int, Field(ge=1, le=1024)]
    engine: Literal["local", "ray"]
    processes: Annotated[int, Field(ge=1, le=4096)]
    reduction: Literal["exact", "fast"]
    loaders: Annotated[int, Field(ge=0, le=1024)]
    tracking: bool
    progress: bool
    checkpoint_every: Count
    checkpoint_seconds: Positive
    preview_every: Whole
