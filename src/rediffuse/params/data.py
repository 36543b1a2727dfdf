"""The sections of params.yaml for the data stages: prepare, clean and split, each sound by itself."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rediffuse.params.sections import Count, Positive, Section, as_tuple

Text = Annotated[str, Field(min_length=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Level = Annotated[float, Field(ge=0, le=255)]
Names = Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(as_tuple)]

Action = Literal["keep", "quarantine", "drop"]
"""What happens to an image that a check finds: it stays and is marked, it is set aside, it goes."""

Policy = Literal["convert", "reject"]
"""What happens to an image that is stored in an unusual way."""


class AboutParams(Section):
    origin: str | None
    licence: str | None
    retrieved: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None


class FolderParams(Section):
    labels: Literal["folders", "table", "none"]
    table: Text


class TorchvisionParams(Section):
    name: Text
    download: bool


class ColumnsParams(Section):
    file: Text
    image: Text
    label: Text | None
    caption: Text | None
    split: Text | None


class PrepareParams(Section):
    source: Literal["digits", "idx", "folder", "parquet", "webdataset", "torchvision"]
    path: Text
    files: Text
    shard_rows: Annotated[int, Field(ge=1, le=1_000_000)]
    classes: Names | None
    folder: FolderParams
    torchvision: TorchvisionParams
    columns: ColumnsParams
    about: AboutParams

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.classes and len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"prepare.classes names {twice!r} twice")
        return self


class DecodeParams(Section):
    sixteen_bit: Policy
    floating_point: Policy
    cmyk: Policy
    palette: Policy
    transparency: Policy
    rotation: Policy
    animation: Policy
    max_pixels: Count


class Check(Section):
    action: Action


class RangeCheck(Check):
    range: Level


class LevelCheck(Check):
    level: Level


class EntropyCheck(Check):
    bits: Annotated[float, Field(ge=0, le=8)]


class OutlierCheck(Check):
    deviations: Positive


class SimilarityCheck(Check):
    similarity: Annotated[float, Field(gt=0, le=1)]
    flips: bool


class ProbabilityCheck(Check):
    probability: Annotated[float, Field(gt=0, lt=1)]


class ChecksParams(Section):
    missing_label: Check
    missing_caption: Check
    name_collision: Check
    blank: RangeCheck
    dark: LevelCheck
    bright: LevelCheck
    low_information: EntropyCheck
    size_outlier: OutlierCheck
    aspect_outlier: OutlierCheck
    duplicate: Check
    near_duplicate: SimilarityCheck
    class_outlier: OutlierCheck
    label_suspect: ProbabilityCheck


class CleanParams(Section):
    size: Annotated[int, Field(ge=4, le=1024)] | None
    channels: Literal[1, 3] | None
    resize: Literal["center_crop", "pad", "squash"]
    background: Annotated[tuple[Byte, Byte, Byte], BeforeValidator(as_tuple)]
    max_rejected_share: Annotated[float, Field(ge=0, le=1)]
    decode: DecodeParams
    checks: ChecksParams


class LimitsParams(Section):
    class_deviation: Annotated[float, Field(ge=0, le=1)] | None
    ks: Annotated[float, Field(ge=0, le=1)] | None
    auc: Annotated[float, Field(ge=0.5, le=1)] | None


class SplitParams(Section):
    method: Literal["stratified", "hash"]
    val_share: Annotated[float, Field(gt=0, le=0.4)]
    test_share: Annotated[float, Field(gt=0, le=0.4)]
    limits: LimitsParams
