"""What is served: the model, the other versions of it, and whether the server lives."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from rediffuse.prompts import LONGEST
from rediffuse.serving.api.cost import most_evaluations
from rediffuse.serving.api.drawing import ENDING
from rediffuse.serving.api.errors import RefusedError, refusals
from rediffuse.serving.api.images import MOST_FRAMES
from rediffuse.serving.api.schemas import Health, Limits, ListedModel, ListedModels, ModelAnswer, OwnSettings
from rediffuse.serving.api.service import Service, most_steps
from rediffuse.serving.models import Served


def model_router(service: Service) -> APIRouter:
    """The routes of this file."""
    router = APIRouter(tags=["model"])

    @router.get("/v1/model", summary="The served model", responses=refusals(404, 422, 503))
    async def model(
        model: Annotated[str | None, Query(max_length=100, description="a version; default: the current one")] = None,
    ) -> ModelAnswer:
        """Its classes and words, its own settings, the limits of a request, and its card."""
        served = await run_in_threadpool(service.served, model)
        return _described(service, served)

    @router.get("/v1/models", summary="The versions and models that a request may name", responses=refusals())
    def models() -> ListedModels:
        """Versions of the registered model, and the models that are served beside it."""
        current = service.models.current()
        listed = [
            ListedModel(
                name=each.name or current.name,
                version=each.version,
                current=each.version == current.version,
                aliases=list(each.aliases),
                identity=current.answers.identity if each.version == current.version else None,
            )
            for each in service.models.listed()
        ]
        return ListedModels(models=listed)

    @router.get("/healthz", tags=["server"], summary="Whether the server lives", responses=refusals(503))
    async def health() -> Health:
        """Open to all; it says no more than that."""
        if not service.batcher.alive:
            raise RefusedError(503, "nothing is drawn here any more", retry_after=ENDING)
        return Health(status="ok")

    return router


def _described(service: Service, served: Served) -> ModelAnswer:
    answers, limits = served.answers, service.settings
    vocabulary = answers.vocabulary
    return ModelAnswer(
        identity=answers.identity,
        name=served.name,
        version=served.version,
        classes=list(answers.classes),
        synonyms={name: list(words) for name, words in vocabulary.synonyms.items()},
        frames=list(vocabulary.frames),
        shape=answers.shape,
        settings=OwnSettings(**asdict(answers.settings)),
        samplers=list(answers.samplers),
        batch_size=answers.batch_size,
        guided=answers.why_not_guided is None,
        limits=Limits(
            count=(1, limits.count),
            steps=(1, most_steps(limits, answers.settings)),
            guidance=(0, limits.guidance),
            temperature=(0, limits.temperature),
            evaluations=most_evaluations(limits, answers),
            waiting=limits.waiting,
            prompt=LONGEST,
            frames=MOST_FRAMES,
            body=limits.body,
        ),
        card=answers.card,
        trouble=service.models.trouble,
    )
