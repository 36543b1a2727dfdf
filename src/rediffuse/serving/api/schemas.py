"""The answers, as OpenAPI describes them."""

from pydantic import BaseModel, Field

from rediffuse.prompts import LONGEST


class Drawing(BaseModel):
    """What draws an image again, beside its model."""

    prompt: str
    seed: int
    index: int
    to_seed: int | None
    share: float
    sampler: str
    steps: int
    guidance: float
    temperature: float


class DrawnImage(Drawing):
    """An image with all that draws it again."""

    png: str = Field(description="base64 of the file, whose text `rediffuse` holds the other fields")


class Drawn(BaseModel):
    """Images, in the order in which they were asked for."""

    model: str = Field(description="identity: SHA-256 of the weights")
    name: str
    version: str | None
    seed: int = Field(description="that was given, that the prompt says, or that follows from it")
    images: list[DrawnImage]


class Queued(BaseModel):
    """Data of the event `queued`: what will be drawn."""

    model: str
    name: str
    version: str | None
    seed: int
    count: int


class Progressed(BaseModel):
    """Data of the event `step`: the images on their way."""

    done: int
    of: int
    level: float = Field(description="noise-to-signal ratio; 0: the images themselves")
    images: list[str] = Field(description="base64 of PNGs without a record")


class Question(BaseModel, extra="forbid"):
    """A prompt that somebody wants to understand."""

    prompt: str = Field(max_length=LONGEST, strict=True)
    model: str | None = Field(default=None, max_length=LONGEST, strict=True, description="a version of it")


class MeantTerm(BaseModel):
    """A class, and how much of it."""

    label: str
    weight: float


class Variant(BaseModel):
    """One image of the grid."""

    prompt: str = Field(description="the same in canonical words")
    terms: list[MeantTerm]


class Understanding(BaseModel):
    """What a prompt means to a model."""

    variants: list[Variant]
    seed: int | None = Field(description="that the prompt says")


class RecordAnswer(Drawing):
    """How a PNG was drawn."""

    model: str


class OwnSettings(BaseModel):
    """How the model draws where nobody says."""

    sampler: str
    steps: int
    guidance: float
    temperature: float


class Limits(BaseModel):
    """What may be asked for, from least to most."""

    count: tuple[int, int]
    steps: tuple[int, int]
    guidance: tuple[float, float]
    temperature: tuple[float, float]
    evaluations: int = Field(description="of the network, for one request, its batches drawn full")
    waiting: int = Field(description="images that may wait, of all clients")
    prompt: int = Field(description="characters")
    frames: int
    body: int = Field(description="bytes")


class ModelAnswer(BaseModel):
    """A served model."""

    identity: str = Field(description="SHA-256 of the weights")
    name: str
    version: str | None
    classes: list[str]
    synonyms: dict[str, list[str]]
    frames: list[str] = Field(description="words that are true of each of its images")
    shape: tuple[int, int, int] = Field(description="channels, height, width")
    settings: OwnSettings
    samplers: list[str]
    batch_size: int
    guided: bool = Field(description="whether a guidance scale other than 1 may be asked for")
    limits: Limits
    card: str = Field(description="Markdown; empty for none")
    trouble: str | None = Field(description="why what stands at the source now is not what is served")


class ListedModel(BaseModel):
    """A version, or a model beside, that a request may name."""

    name: str
    version: str = Field(description="what `model` of a request says: 3, of a model beside NAME/3 or NAME")
    current: bool
    aliases: list[str]
    identity: str | None = Field(description="SHA-256 of the weights, of the current one")


class ListedModels(BaseModel):
    """All of them, newest first."""

    models: list[ListedModel]


class Health(BaseModel):
    """The server answers."""

    status: str
