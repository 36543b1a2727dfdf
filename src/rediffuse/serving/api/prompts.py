"""What a prompt means, and what a PNG was drawn with; nothing is drawn here."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from rediffuse.prompts import PromptError, understand, written
from rediffuse.serving.api.accept import media_type
from rediffuse.serving.api.errors import RefusedError, refusals
from rediffuse.serving.api.images import JSON, PNG, json_only
from rediffuse.serving.api.schemas import MeantTerm, Question, RecordAnswer, Understanding, Variant
from rediffuse.serving.api.service import Service
from rediffuse.serving.record import read_record
from rediffuse.serving.wanted import NotAllowedError

_EXAMPLES = {"a grid": {"summary": "A grid of two", "value": {"prompt": "{3|8} --seed 7"}}}


def prompts_router(service: Service) -> APIRouter:
    """The routes of this file."""
    router = APIRouter(tags=["prompts"])

    @router.post(
        "/v1/understand", summary="What a prompt means", dependencies=[Depends(json_only)],
        responses=refusals(400, 404, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"content": {JSON: {"examples": _EXAMPLES}}}},
    )  # fmt: skip
    async def meaning(question: Question) -> Understanding:
        """The classes of each image that the prompt asks for, with their weights, and the seed that it says."""
        return await run_in_threadpool(_understood, service, question)

    @router.post(
        "/v1/record", summary="How a PNG was drawn", responses=refusals(413, 415, 422),
        openapi_extra={"requestBody": {"required": True, "content": {PNG: {"schema": _BINARY}}}},
    )  # fmt: skip
    async def record(request: Request) -> RecordAnswer:
        """The record that each image of the API carries; to ask for the same again gives the same pixels."""
        if media_type(request.headers.get("content-type")) != PNG:
            raise RefusedError(415, "the body must be a PNG", field="Content-Type", allowed=PNG)
        try:
            found = read_record(await request.body())
        except ValueError as error:
            raise RefusedError(422, str(error), field="body", allowed="a PNG of this API, as it was written") from None
        return RecordAnswer(**asdict(found))

    return router


_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}


def _understood(service: Service, question: Question) -> Understanding:
    vocabulary = service.served(question.model).answers.vocabulary
    try:
        found = understand(question.prompt, vocabulary)
    except PromptError as error:
        raise NotAllowedError("prompt", str(error)) from None
    variants = [
        Variant(prompt=written(terms), terms=[MeantTerm(label=term.label, weight=term.weight) for term in terms])
        for terms in found.variants
    ]
    return Understanding(variants=variants, seed=found.seed)
