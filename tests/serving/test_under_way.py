"""A real server in use: its model is replaced, its queue is full, its clients leave."""

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from rediffuse.serving.models.edition import load
from rediffuse.serving.record import png, record_of
from rediffuse.serving.request import parsed, wanted
from tests.serving.server import Server, running
from tests.serving.test_models import NAME, Registered, registered  # noqa: F401
from tests.tracking.conftest import _own_store  # noqa: F401

pytestmark = pytest.mark.slow
LONG = 120.0  # seconds until a test that hangs fails; none waits for it


@contextmanager
def client_of(server: Server) -> Iterator[httpx2.Client]:
    limits = httpx2.Limits(max_connections=64)
    with httpx2.Client(base_url=server.url, timeout=LONG, limits=limits) as client:
        yield client


def metric(client: httpx2.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def until(true: Any) -> None:
    late = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)


def test_every_answer_is_whole_and_of_one_model_while_another_takes_its_place(
    registered: Registered,  # noqa: F811
    tmp_path: Path,
) -> None:
    asked = {"prompt": "owl, cat, dog", "seed": 5, "count": 2}
    expected, identities = {}, []
    for version in (1, 2):
        answers = load(registered.source(f"models:/{NAME}/{version}").newest())
        images = wanted(parsed(asked), answers, 6)
        files = [png(image, record_of(answers, one)) for one, image in zip(images, answers.images(images), strict=True)]
        expected[answers.identity] = [base64.b64encode(file).decode() for file in files]
        identities.append(answers.identity)
    old, new = identities
    store = f"sqlite:///{registered.workspace.tracking_database}"
    registered.crown(1)
    settled, enough = threading.Event(), threading.Event()
    with (
        running(f"models:/{NAME}@champion", tmp_path / "log", "--poll", "0.1", MLFLOW_TRACKING_URI=store) as server,
        client_of(server) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        # Of each client, answer by answer: whether the swap was over before it asked, and which model answered.
        told: list[list[tuple[bool, str]]] = [[] for _ in range(8)]

        def ask(mine: list[tuple[bool, str]]) -> None:
            while not enough.is_set():
                after = settled.is_set()
                answer = client.post("/v1/images", json=asked).raise_for_status().json()
                assert [image["png"] for image in answer["images"]] == expected[answer["model"]]
                assert answer["version"] == str(1 + identities.index(answer["model"]))
                mine.append((after, answer["model"]))

        def all_told(after: bool) -> bool:
            failed = any(each.done() for each in clients)
            return failed or all([was for was, _ in mine].count(after) >= 2 for mine in told)

        clients = [threads.submit(ask, mine) for mine in told]
        try:
            until(lambda: all_told(after=False))
            assert metric(client, "rediffuse_model_swaps_total") == 0
            registered.crown(2)
            until(lambda: client.get("/v1/model").json()["version"] == "2")
            settled.set()
            until(lambda: all_told(after=True))
        finally:
            enough.set()
        for each, mine in zip(clients, told, strict=True):
            each.result()
            models = [model for _, model in mine]
            assert models == sorted(models, key=identities.index)
            assert models[0] == old
            assert {model for after, model in mine if after} == {new}
        assert metric(client, "rediffuse_model_swaps_total") == 1
        assert client.get("/v1/model").json()["identity"] == new
        still = client.post("/v1/images", json={**asked, "model": "1"}).raise_for_status().json()
        assert (still["model"], [image["png"] for image in still["images"]]) == (old, expected[old])
        # There and back between two looks at the metrics: both are counted.
        registered.crown(1)
        until(lambda: client.get("/v1/model").json()["version"] == "1")
        registered.crown(2)
        until(lambda: client.get("/v1/model").json()["version"] == "2")
        assert metric(client, "rediffuse_model_swaps_total") == 3


def test_a_full_queue_refuses_with_429_and_answers_everybody_else(tiny_weights: Path, tmp_path: Path) -> None:
    options = ("--most-images", "4", "--most-waiting", "8")
    with (
        running(tiny_weights, tmp_path / "log", *options) as server,
        client_of(server) as client,
        ThreadPoolExecutor(32) as threads,
    ):
        asked = {"label": "owl", "seed": 1, "count": 4, "steps": 100}
        told = list(threads.map(lambda _: client.post("/v1/images", json=asked), range(96)))
        assert {answer.status_code for answer in told} == {200, 429}
        assert len({answer.text for answer in told if answer.status_code == 200}) == 1
        for answer in told:
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.json()["error"]["field"] == "count"
        refused = sum(answer.status_code == 429 for answer in told)
        name = 'rediffuse_requests_total{method="POST",route="/v1/images",status="429"}'
        until(lambda: metric(client, name) == refused)
        assert client.post("/v1/images", json=asked).status_code == 200
        assert metric(client, "rediffuse_waiting_images") == 0


@pytest.mark.parametrize("form", ["application/json", "text/event-stream"])
def test_for_a_client_that_leaves_nothing_more_is_drawn(tiny_weights: Path, tmp_path: Path, form: str) -> None:
    # One batch of many seconds, of which the client waits for the beginning, and two that would come after it.
    asked = {"label": "owl", "seed": 1, "count": 12, "steps": 4000}
    with running(tiny_weights, tmp_path / "log", "--most-steps", "4000") as server, client_of(server) as client:
        with httpx2.Client(base_url=server.url, headers={"Accept": form}) as leaving:
            if form == "text/event-stream":
                with leaving.stream("POST", "/v1/images?frames=32", json=asked, timeout=LONG) as answer:
                    assert "event: step" in answer.iter_lines()
            else:
                with pytest.raises(httpx2.ReadTimeout):
                    leaving.post("/v1/images", json=asked, timeout=0.5)
        until(lambda: metric(client, "rediffuse_waiting_images") == 0)
        # This one's turn comes as soon as the drawing has stopped.
        assert client.post("/v1/images", json={"label": "cat", "seed": 2}).status_code == 200
        assert metric(client, "rediffuse_images_total") == 1
        if form == "application/json":
            name = 'rediffuse_requests_total{method="POST",route="/v1/images",status="499"}'
            until(lambda: metric(client, name) == 1)
