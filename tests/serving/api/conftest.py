"""A tiny model behind the API, in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from rediffuse.serving.api import ApiSettings, create_app
from rediffuse.serving.api.metrics import Metrics
from rediffuse.serving.batching import Batcher
from rediffuse.serving.jobs.runner import Jobs
from rediffuse.serving.jobs.store import JobStore
from rediffuse.serving.models import Models, source


@dataclass(frozen=True)
class Api:
    app: FastAPI
    client: TestClient
    models: Models
    batcher: Batcher


def called(app: FastAPI, **options: Any) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False, **options)


@pytest.fixture(scope="session")
def models(tiny_weights: Path) -> Iterator[Models]:
    models = Models(source(str(tiny_weights)))
    models.start()
    yield models
    models.close()


@pytest.fixture(scope="session")
def make_api(models: Models) -> Iterator[Callable[..., Api]]:
    """Makes an app of these settings; `draws`: whether anything is drawn at all, `jobs`: their folder."""
    with ExitStack() as stack:

        def made(*routers: APIRouter, draws: bool = True, jobs: Path | None = None, **settings: Any) -> Api:
            metrics, chosen = Metrics(), ApiSettings(**settings)
            batcher = Batcher(most_waiting=chosen.waiting, told=metrics)
            if draws:
                batcher.start()
                stack.callback(batcher.close)
            kept = Jobs(JobStore(jobs), models, batcher, at_once=chosen.waiting) if jobs else None
            if kept:
                kept.start()
                stack.callback(kept.close)
            app = create_app(models, batcher, chosen, metrics=metrics, jobs=kept, routers=routers)
            return Api(app, called(app), models, batcher)

        yield made


@pytest.fixture(scope="session")
def api(make_api: Callable[..., Api]) -> Api:
    return make_api(count=16)
