"""The section `reference`: what judges every model."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rediffuse.params.sections import Channels, Count, Positive, Section, as_tuple

ExtractorName = Literal["classifier", "pca", "random", "inception", "dinov2", "custom"]
RealCount = Annotated[int, Field(ge=1, le=1_000_000_000)] | Literal["all"]


class ReferenceParams(Section):
    extractors: Annotated[tuple[ExtractorName, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    width: Channels
    features: Annotated[int, Field(ge=2, le=16_384)]
    steps: Count
    batch_size: Count
    lr: Positive
    repeats: Annotated[int, Field(ge=1, le=100)]
    real_counts: Annotated[tuple[RealCount, ...], BeforeValidator(as_tuple)]
    pca_dimensions: Annotated[int, Field(ge=2, le=16_384)]
    weights: Annotated[str, Field(min_length=1)]
    download: bool
    dinov2: Annotated[str, Field(min_length=1)]
    custom: str | None

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for key in ("extractors", "real_counts"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"reference.{key} is {list(values)}: each may stand once")
        if "custom" in self.extractors and self.custom is None:
            raise ValueError(
                "reference.extractors names custom, but reference.custom is null; "
                "use the name of a TorchScript file in reference.weights, or module:Class"
            )
        return self
