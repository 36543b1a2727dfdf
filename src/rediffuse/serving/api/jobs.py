"""`/v1/jobs`: many rows at once, drawn when nobody else waits, and kept until somebody deletes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from rediffuse.serving.api.accept import is_json
from rediffuse.serving.api.drawing import ENDING
from rediffuse.serving.api.errors import RefusedError, refusals
from rediffuse.serving.api.service import Service
from rediffuse.serving.batching import ClosedError
from rediffuse.serving.jobs.items import RowError, items_of
from rediffuse.serving.jobs.prompts_file import PromptsFileError, read_prompts
from rediffuse.serving.jobs.runner import Jobs, JobState, TooManyJobsError
from rediffuse.serving.jobs.store import Accepted
from rediffuse.serving.models import Listing, Served
from rediffuse.serving.request import ImageRequest, parsed
from rediffuse.serving.wanted import NotAllowedError

JSON, CSV, PNG = "application/json", "text/csv", "image/png"

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of the job: 32 hex digits")]
Number = Annotated[int, Path(ge=0, le=999_999, description="of the image, through all rows, from 0")]


class JobRequest(BaseModel):
    """Rows, each as `POST /v1/images` takes it, all of one model; what is in them is looked at row by row."""

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, Any]] = Field(min_length=1)


class JobAnswer(BaseModel):
    """How far a job is."""

    id: str
    state: str = Field(description="waiting | drawing | done | failed | cancelled")
    done: int = Field(description="images that are there")
    of: int = Field(description="images in all")
    error: str | None = Field(description="why it failed, or what it waits for")
    name: str
    version: str | None
    model: str = Field(description="identity of the model that it was accepted with")


_ROWS = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/ImageRequest"}}
_BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["rows"],
                "additionalProperties": False,
                "properties": {"rows": _ROWS},
            },
            "examples": {"two rows": {"value": {"rows": [{"prompt": "3", "seed": 7, "count": 4}, {"seed": 0}]}}},
        },
        CSV: {"schema": {"type": "string"}, "example": "prompt,seed,count\n3,7,4\n,0,\n"},
    },
}


def jobs_router(service: Service, jobs: Jobs) -> APIRouter:
    """The routes of this file."""
    router = APIRouter(tags=["jobs"])

    def known(found: Any, what: str = "no such job") -> Any:
        if found is None:
            raise RefusedError(404, f"there is {what}")
        return found

    @router.post(
        "/v1/jobs", status_code=202, response_model=JobAnswer, summary="Draw many rows in the background",
        responses=refusals(400, 404, 413, 415, 422, 429, 503), openapi_extra={"requestBody": _BODY},
    )  # fmt: skip
    async def accept(request: Request, response: Response) -> JobAnswer:
        """Answered when the job is safe on the disk; it is drawn when nobody waits for an image of a request."""
        kind = request.headers.get("content-type")
        read = _json if is_json(kind) else _csv if (kind or "").partition(";")[0].strip().lower() == CSV else None
        if read is None:
            raise RefusedError(415, "the body must be JSON or CSV", field="Content-Type", allowed=f"{JSON}, {CSV}")
        body = await request.body()
        job = await run_in_threadpool(lambda: _accepted(service, jobs, *read(body, jobs.limits.rows)))
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return _answer(known(jobs.state(job.id)))

    @router.get("/v1/jobs/{id}", summary="How far a job is", responses=refusals(404, 422))
    def state(id: Id) -> JobAnswer:
        """The job stays known until it is deleted."""
        return _answer(known(jobs.state(id)))

    @router.get(
        "/v1/jobs/{id}/images/{number}.png", summary="An image of a job", response_class=Response,
        responses={**refusals(404, 422), 200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}},
    )  # fmt: skip
    def image(id: Id, number: Number) -> Response:
        """As soon as it is drawn, the same bytes as `POST /v1/images` gives."""
        known(jobs.state(id))
        return Response(known(jobs.image(id, number), f"no image {number} yet, or never"), media_type=PNG)

    @router.get(
        "/v1/jobs/{id}/manifest.csv", summary="What each image of a job is", response_class=Response,
        responses={**refusals(404, 422), 200: {"content": {CSV: {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    def manifest(id: Id) -> Response:
        """In the order of the rows; of a job that is not done, its beginning."""
        known(jobs.state(id))
        return Response(known(jobs.manifest(id), "no manifest yet"), media_type=CSV)

    @router.delete("/v1/jobs/{id}", status_code=204, summary="End a job, and remove it", responses=refusals(404, 422))
    def remove(id: Id) -> Response:
        """One that is being drawn may be seen as cancelled for a moment."""
        known(jobs.remove(id) or None)
        return Response(status_code=204)

    return router


Places = Sequence[str]
"""What errors call each row."""


def _json(body: bytes, most: int) -> tuple[list[ImageRequest], Places]:
    try:
        rows = JobRequest.model_validate_json(body).rows
    except ValidationError as error:
        told = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(told) from None
    if len(rows) > most:
        raise RefusedError(422, f"there are {len(rows)} rows", field="rows", allowed=f"at most {most} rows")
    places = [f"rows.{row}" for row in range(len(rows))]
    requests = []
    for place, row in zip(places, rows, strict=True):
        try:
            requests.append(parsed(row))
        except NotAllowedError as error:
            raise RefusedError(422, f"{place}: {error}", field=f"{place}.{error.field}") from None
    return requests, places


def _csv(body: bytes, most: int) -> tuple[list[ImageRequest], Places]:
    try:
        read = read_prompts(body, "the body", most)
    except PromptsFileError as error:
        raise RefusedError(422, str(error), field=error.column or "body") from None
    return list(read.requests), [f"line {line}" for line in read.lines]


def _accepted(service: Service, jobs: Jobs, requests: Sequence[ImageRequest], places: Places) -> Accepted:
    """Check every row, and keep the job."""
    other = next((row for row, each in enumerate(requests) if each.model != requests[0].model), None)
    if other is not None:
        raise RefusedError(
            422,
            "the rows of a job are of one model",
            field=f"{places[other]}.model",
            allowed=requests[0].model or "null",
        )
    served = service.served(requests[0].model)
    # One model for all rows, though another may take its place meanwhile.
    alone = replace(service, models=_Alone(served))
    try:
        items = items_of(requests, served.answers, jobs.limits.images, lambda request: alone.wanted(request)[1])
    except RowError as error:
        field = f"{places[error.row]}.{error.field}"
        raise RefusedError(422, f"{places[error.row]}: {error}", field=field) from None
    try:
        return jobs.accept(requests, items, served)
    except TooManyJobsError as error:
        raise RefusedError(429, str(error), retry_after=error.retry_after) from None
    except ClosedError:
        raise RefusedError(503, "the server is ending", retry_after=ENDING) from None


@dataclass(frozen=True)
class _Alone:
    """Models of which there is one."""

    served: Served
    trouble: None = None
    swaps: int = 0

    def current(self) -> Served:
        return self.served

    def named(self, _: str) -> Served:
        return self.served

    def listed(self) -> list[Listing]:
        return []


def _answer(state: JobState) -> JobAnswer:
    job = state.job
    return JobAnswer(
        id=job.id,
        state=state.state,
        done=state.done,
        of=state.of,
        error=state.error,
        name=job.name,
        version=job.version,
        model=job.model,
    )
