"""What somebody asks for, checked, and the images that it means: one form for the API, the pyfunc and batch jobs."""

import hashlib
import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from rediffuse.prompts import LONGEST, PromptError, Term, understand, written
from rediffuse.serving.wanted import NotAllowedError, Origin, Settings, Wanted

if TYPE_CHECKING:
    # Torch is not needed to look at a request.
    from rediffuse.serving.answers import Answers

LAST_INDEX = 2**31 - 1

_INT64 = "a whole number from -2^63 to 2^63 - 1"
ALLOWED: Mapping[str, str] = {
    "prompt": f"a text of at most {LONGEST} characters",
    "label": "the name of a class",
    "seed": _INT64,
    "index": "a whole number from 0 to 2^31 - 1",
    "count": "a whole number from 1 on",
    "steps": "a whole number from 1 to 10000",
    "sampler": "the name of a sampler",
    "guidance": "a number from 0 to 100",
    "temperature": "a number from 0 to 10",
    "to_seed": _INT64,
    "share": "a number from 0 to 1",
    "model": "the name of a version",
}
"""What each field of a request may hold, whatever the model; each but index and count may also be null."""

# Settings and what they may be are named here once, for requests and for the records in PNGs.
Prompt = Annotated[str, Strict(), Field(max_length=LONGEST)]
Name = Annotated[str, Strict(), Field(max_length=LONGEST)]
Seed = Annotated[int, Strict(), Field(ge=-(2**63), le=2**63 - 1)]
Index = Annotated[int, Strict(), Field(ge=0, le=LAST_INDEX)]
Count = Annotated[int, Strict(), Field(ge=1, le=LAST_INDEX)]
Steps = Annotated[int, Strict(), Field(ge=1, le=10_000)]
Guidance = Annotated[float, Strict(), Field(ge=0, le=100)]
Temperature = Annotated[float, Strict(), Field(ge=0, le=10)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]


def _asked(name: str, meaning: str, default: Any = None) -> Any:
    return Field(default, description=f"{meaning}: {ALLOWED[name]}")


class ImageRequest(BaseModel):
    """Images that somebody asks for.

    What is null is as the model has it; with neither a prompt nor a label, each image is of the class that the stage
    `sample` gives its index.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    prompt: Prompt | None = _asked("prompt", "What is drawn, in words")
    label: Name | None = _asked("label", "What is drawn, in place of a prompt")
    seed: Seed | None = _asked("seed", "Which noise; null: one that follows from the prompt")
    index: Index = _asked("index", "The first image's number among those of the seed", 0)
    count: Count = _asked("count", "Images of each variant of the prompt", 1)
    steps: Steps | None = _asked("steps", "Steps from noise to image")
    sampler: Name | None = _asked("sampler", "How they are taken")
    guidance: Guidance | None = _asked("guidance", "Guidance scale, 1 is off")
    temperature: Temperature | None = _asked("temperature", "The noise's standard deviation, of the model's own")
    to_seed: Seed | None = _asked("to_seed", "Another noise, to walk to")
    share: Share | None = _asked("share", "Of the way there, for one point of it; null: `count` of them, end to end")
    model: Name | None = _asked("model", "Which version of the served model")


def parsed(fields: Mapping[str, Any]) -> ImageRequest:
    """The request with these fields.

    Raises:
        NotAllowedError: naming the first field that can't be as it is.
    """
    try:
        return ImageRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise refusal(first["loc"], first["type"], first["input"]) from None


def refusal(place: Sequence[int | str], kind: str, found: object) -> NotAllowedError:
    """What pydantic found wrong, by its place in the request, its type of error and the value, in our words."""
    if not place:
        return NotAllowedError(
            "request", f"the request is {shown(found)}; an object with the fields {_NAMES} is allowed"
        )
    name = str(place[0])
    if name not in ALLOWED:
        return NotAllowedError(name, f"{shown(name)} is no field of a request; it may have {_NAMES}")
    if kind == "string_too_long" and isinstance(found, str):
        found = f"{len(found)} characters long"
        return NotAllowedError(name, f"{name} is {found}; {ALLOWED[name]} is allowed")
    return NotAllowedError(name, f"{name} is {shown(found)}; {ALLOWED[name]} is allowed")


_NAMES = ", ".join(ALLOWED)


def shown(value: object) -> str:
    """A value that came from anywhere, in a line that is short enough to read."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def wanted(request: ImageRequest, answers: "Answers", most: int) -> list[Wanted]:
    """The images that are asked for, variant by variant; two requests that mean the same give the same.

    Args:
        request: its `model` is left to who has chosen `answers` by it.
        answers: the model that is asked.
        most: images, at most.

    Raises:
        NotAllowedError: what the request may not, or the model can't.
    """
    variants, in_prompt = _variants(request, answers)
    total = request.count if variants is None else request.count * len(variants)
    if total > most:
        times = f" for each of {len(variants)} variants of the prompt" if variants and len(variants) > 1 else ""
        raise NotAllowedError("count", f"count is {request.count}{times}; at most {most} images are allowed")
    settings = _settings(request, answers)
    answers.check(settings)
    points = _points(request, _seed(request, variants, in_prompt))
    if variants is None:
        return [Wanted(_by_index(answers, place[0].index), place[0], settings, *place[1:]) for place in points]
    return [Wanted(terms, place[0], settings, *place[1:]) for terms in variants for place in points]


def _variants(request: ImageRequest, answers: "Answers") -> tuple[list[tuple[Term, ...]] | None, int | None]:
    """What is drawn, None: it depends on the index; and the seed that a prompt names."""
    if request.label is not None:
        if request.prompt is not None:
            raise NotAllowedError(
                "label", f"label is {shown(request.label)}, but there is a prompt, too; one is allowed"
            )
        if request.label not in answers.classes:
            allowed = (
                f"the classes are {', '.join(answers.classes)}" if answers.classes else "this model has no classes"
            )
            raise NotAllowedError("label", f"label is {shown(request.label)}; {allowed}")
        return [(Term(request.label),)], None
    if request.prompt is None:
        return None, None
    try:
        understood = understand(request.prompt, answers.vocabulary)
    except PromptError as error:
        raise NotAllowedError("prompt", str(error)) from None
    for terms in understood.variants:
        # Its record is asked again by that text.
        if len(written(terms)) > LONGEST:
            raise NotAllowedError("prompt", f"prompt is too long, once its words are written out; {ALLOWED['prompt']}")
    return list(understood.variants), understood.seed


def _seed(request: ImageRequest, variants: list[tuple[Term, ...]] | None, in_prompt: int | None) -> int:
    """The seed that was given, or one that follows from what is drawn: to be told, and to be repeated."""
    if in_prompt is not None:
        if not -(2**63) <= in_prompt < 2**63:
            raise NotAllowedError("prompt", f"prompt asks for --seed {shown(in_prompt)}; {ALLOWED['seed']} is allowed")
        if request.seed not in (None, in_prompt):
            raise NotAllowedError("seed", f"seed is {request.seed}, but the prompt says --seed {in_prompt}; use one")
        return in_prompt
    if request.seed is not None:
        return request.seed
    text = ", ".join(written(terms) for terms in variants or ())
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _settings(request: ImageRequest, answers: "Answers") -> Settings:
    own = answers.settings
    # + 0.0: an integer becomes a float and -0.0 becomes 0.0, so that equal settings are written alike.
    return Settings(
        sampler=own.sampler if request.sampler is None else request.sampler,
        steps=own.steps if request.steps is None else request.steps,
        guidance=(own.guidance if request.guidance is None else request.guidance) + 0.0,
        temperature=(own.temperature if request.temperature is None else request.temperature) + 0.0,
    )


def _points(request: ImageRequest, seed: int) -> list[tuple[Origin, Origin | None, float]]:
    """Where each image of a variant begins, where the walk that it lies on ends, and its share of the way."""
    if request.to_seed is None and request.share is not None:
        raise NotAllowedError("share", f"share is {request.share}, but there is no to_seed to walk to; leave it out")
    if request.to_seed is not None and request.share is None:
        if request.count < 2:
            raise NotAllowedError("count", f"count is {request.count}; a walk to to_seed needs 2 or more, or a share")
        ends = Origin(seed, request.index), Origin(request.to_seed, request.index)
        return [(*ends, number / (request.count - 1)) for number in range(request.count)]
    last = request.index + request.count - 1
    if last > LAST_INDEX:
        raise NotAllowedError("index", f"index is {request.index} for {request.count} images; 2^31 - 1 is the last one")
    share = (request.share or 0.0) + 0.0
    return [
        (Origin(seed, index), None if request.to_seed is None else Origin(request.to_seed, index), share)
        for index in range(request.index, last + 1)
    ]


def _by_index(answers: "Answers", index: int) -> tuple[Term, ...]:
    """The class that the stage `sample` gives this image."""
    label = answers.label_at(index) if answers.classes else None
    return () if label is None else (Term(label),)
