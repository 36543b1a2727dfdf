"""`POST /v1/images`: the images of a request, as JSON, as a PNG, or as events while they are drawn."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from rediffuse.serving.api.accept import is_json, preferred
from rediffuse.serving.api.drawing import ClientLeftError, drawn, submitted
from rediffuse.serving.api.errors import RefusedError, refusals
from rediffuse.serving.api.events import EVENTS, EventStream
from rediffuse.serving.api.schemas import Drawn, DrawnImage, Queued
from rediffuse.serving.api.service import Service
from rediffuse.serving.models import Served
from rediffuse.serving.record import png, record_of
from rediffuse.serving.request import ImageRequest
from rediffuse.serving.wanted import Wanted

JSON, PNG = "application/json", "image/png"
MOST_FRAMES = 32

_ONE = {"prompt": "3", "seed": 7}
_EXAMPLES = {
    "a class": {"summary": "One image of a class", "value": _ONE},
    "the pipeline's": {"summary": "Image 5 of the stage sample", "value": {"seed": 0, "index": 5}},
    "a grid": {"summary": "Two variants, four images each", "value": {"prompt": "{3|8}", "seed": 7, "count": 4}},
    "a composition": {"summary": "3 and a little 8, and no 5", "value": {"prompt": "3 and (8:0.5) --no 5", "seed": 7}},
    "a walk": {"summary": "From one seed to another", "value": {"prompt": "3", "seed": 7, "to_seed": 8, "count": 9}},
    "otherwise": {
        "summary": "Another sampler, fewer steps",
        "value": {**_ONE, "sampler": "ddim", "steps": 10, "guidance": 2.0, "temperature": 0.9},
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Drawn,
        "description": "The images, in the form that the header Accept asks for.",
        "content": {
            PNG: {"schema": {"type": "string", "format": "binary"}},
            EVENTS: {
                "schema": {"type": "string"},
                "example": 'event: step\ndata: {"done": 10, "of": 20, "level": 0.7, "images": ["iVBORw0KGgo="]}\n\n',
            },
        },
    },
    **refusals(400, 404, 406, 413, 415, 422, 429, 503),
}


def json_only(content_type: Annotated[str | None, Header(include_in_schema=False)] = None) -> None:
    """What is no JSON is refused as such, and a page of another site can't post without being asked (CORS)."""
    if not is_json(content_type):
        raise RefusedError(415, "the body must be JSON", field="Content-Type", allowed=JSON)


def images_router(service: Service) -> APIRouter:
    """The route of this file."""
    router = APIRouter(tags=["images"])

    @router.post(
        "/v1/images", summary="Draw images", responses=_ANSWERS, dependencies=[Depends(json_only)], response_model=None,
        openapi_extra={"requestBody": {"content": {JSON: {"examples": _EXAMPLES}}}},
    )  # fmt: skip
    async def draw(
        wanted: ImageRequest,
        request: Request,
        frames: Annotated[int, Query(ge=0, le=MOST_FRAMES, description="events `step`, at most")] = 8,
    ) -> Response:
        """The same request to the same model gives the same bytes, whoever asks beside it.

        Answers with `application/json`, with `image/png` (one image alone), or with `text/event-stream`: the events
        `queued`, `step` (the images on their way), `done` (as the JSON) or `error`.
        """
        form = preferred(", ".join(request.headers.getlist("accept")), (JSON, PNG, EVENTS))
        if form is None:
            raise RefusedError(
                406, "no such answer is given here", field="Accept", allowed=", ".join((JSON, PNG, EVENTS))
            )
        # A version that is not loaded yet takes seconds.
        served, images = await run_in_threadpool(service.wanted, wanted)
        if form == PNG and len(images) != 1:
            raise RefusedError(
                406, f"{len(images)} images are no single PNG", field="Accept", allowed=f"{JSON}, {EVENTS}"
            )
        settings = service.settings
        if form == EVENTS:
            return EventStream(
                lambda seen: submitted(
                    lambda: service.batcher.submit(
                        served.answers, images, seen=seen, frames=frames, patience=settings.patience
                    )
                ),
                queued=_queued(served, images),
                done=lambda pictures: answer(served, images, pictures).model_dump_json(),
                seconds=settings.timeout,
            )
        ticket = submitted(lambda: service.batcher.submit(served.answers, images, patience=settings.patience))
        try:
            pictures = await drawn(ticket, request.receive, settings.timeout)
        except ClientLeftError:
            # Nobody reads it; the number is nginx's, for the metrics.
            return Response(status_code=499)
        if form == PNG:
            return Response(file_of(served, images[0], pictures[0]), media_type=PNG)
        content = await run_in_threadpool(lambda: answer(served, images, pictures).model_dump_json())
        return Response(content, media_type=JSON)

    return router


def file_of(served: Served, wanted: Wanted, picture: np.ndarray) -> bytes:
    """The PNG with its record."""
    return png(picture, record_of(served.answers, wanted))


def answer(served: Served, wanted: Sequence[Wanted], pictures: Sequence[np.ndarray]) -> Drawn:
    """The JSON of drawn images."""
    return Drawn(
        model=served.answers.identity,
        name=served.name,
        version=served.version,
        seed=wanted[0].origin.seed,
        images=[_image(served, one, picture) for one, picture in zip(wanted, pictures, strict=True)],
    )


def _image(served: Served, wanted: Wanted, picture: np.ndarray) -> DrawnImage:
    record = record_of(served.answers, wanted)
    fields = {name: value for name, value in asdict(record).items() if name != "model"}
    return DrawnImage(png=base64.b64encode(png(picture, record)).decode("ascii"), **fields)


def _queued(served: Served, wanted: Sequence[Wanted]) -> Queued:
    return Queued(
        model=served.answers.identity,
        name=served.name,
        version=served.version,
        seed=wanted[0].origin.seed,
        count=len(wanted),
    )
