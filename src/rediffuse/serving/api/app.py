"""The app: its routes, and what stands before them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from rediffuse.serving.api.errors import Bugs, install
from rediffuse.serving.api.guards import OPEN, KnownHost, KnownToken, Plainly, ShortBody
from rediffuse.serving.api.images import images_router
from rediffuse.serving.api.jobs import jobs_router
from rediffuse.serving.api.metrics import Counted, Metrics, metrics_router
from rediffuse.serving.api.model import model_router
from rediffuse.serving.api.page import page_router
from rediffuse.serving.api.prompts import prompts_router
from rediffuse.serving.api.service import ServedModels, Service
from rediffuse.serving.api.settings import ApiSettings
from rediffuse.serving.batching import Batcher
from rediffuse.serving.jobs.runner import Jobs

_ABOUT = """Images of a diffusion model on request: the same seed and the same prompt give the same bytes.

Each error is `{"error": {"field", "message", "allowed"}}`: the field that it is about, what was found, what is allowed.
"""


def create_app(
    models: ServedModels,
    batcher: Batcher,
    settings: ApiSettings,
    *,
    metrics: Metrics | None = None,
    jobs: Jobs | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The API of a model that is loaded, and of a batcher that draws.

    Args:
        metrics: that the batcher tells, too; None: new ones.
        jobs: of many rows; None: it takes none.
        routers: further routes, behind the same guards.
    """
    metrics = metrics or Metrics()
    metrics.follow(models)
    service = Service(models, batcher, settings, metrics)
    # Swagger's page would come from elsewhere, and nothing here does; /openapi.json can be read with any such page.
    app = FastAPI(
        title="rediffuse",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    for router in (images_router(service), prompts_router(service), model_router(service)):
        app.include_router(router)
    if jobs is not None:
        app.include_router(jobs_router(service, jobs))
    for router in (metrics_router(metrics), page_router(), *routers):
        app.include_router(router)
    # The last one added is asked first.
    app.add_middleware(Bugs)
    app.add_middleware(ShortBody, most=settings.body)
    if settings.token is not None:
        app.add_middleware(KnownToken, token=settings.token.encode("utf-8"))
        _describe_token(app)
    elif settings.hosts is not None:
        app.add_middleware(KnownHost, hosts=settings.hosts)
    app.add_middleware(Plainly)
    app.add_middleware(Counted, metrics=metrics)
    return app


def _describe_token(app: FastAPI) -> None:
    """OpenAPI's word that every route but the open ones wants the token."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path in OPEN:
            for operation in schema["paths"].get(path, {}).values():
                operation["security"] = []
        return schema

    app.openapi = described  # type: ignore[method-assign]
