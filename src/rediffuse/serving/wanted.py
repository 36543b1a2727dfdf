"""An image that somebody asks for: what, which, and how it is drawn."""

from dataclasses import dataclass

from rediffuse.prompts import Term


class NotAllowedError(ValueError):
    """A request can't be answered.

    Args:
        field: of the request, that stands in the way.
        message: what was found and what is allowed, in one line.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Origin:
    """Which noise an image comes from.

    Args:
        seed: any integer.
        index: of the image among those of this seed, from 0.
    """

    seed: int
    index: int = 0


@dataclass(frozen=True)
class Settings:
    """How an image is drawn, as far as a request may say; the rest is as in the stage `sample`.

    Args:
        sampler, steps, guidance, temperature: as in the section `sample` of params.yaml.
    """

    sampler: str
    steps: int
    guidance: float
    temperature: float


@dataclass(frozen=True)
class Wanted:
    """One image.

    Args:
        terms: what it is drawn towards; none: the model's own mix of everything.
        origin: its noise.
        settings: how it is drawn.
        towards: another noise, on the way to which it stands, for a walk through the latent space.
        share: of that way, 0 to 1; at its ends it is exactly the image of `origin` or of `towards`.
    """

    terms: tuple[Term, ...]
    origin: Origin
    settings: Settings
    towards: Origin | None = None
    share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise NotAllowedError("share", f"share is {self.share}; 0 to 1 is allowed")
        if self.towards is None and self.share:
            raise NotAllowedError("share", f"share is {self.share}, but there is no other seed to go to")
