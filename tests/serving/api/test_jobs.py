"""Many rows over HTTP: safe once accepted, the same bytes as asked for one by one, refused with their place."""

import csv
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rediffuse.serving.api import ApiSettings, create_app
from rediffuse.serving.batching import Batcher
from rediffuse.serving.jobs.runner import Jobs
from rediffuse.serving.jobs.state import JobLimits
from rediffuse.serving.jobs.store import JobStore
from rediffuse.serving.models import Models
from tests.serving.api.conftest import Api, called
from tests.serving.server import running

ROWS: list[dict[str, Any]] = [
    {"prompt": "owl", "seed": 7, "count": 3},
    {"seed": 3, "index": 4},
    {"label": "cat", "seed": 1},
]
CSV = {"Content-Type": "text/csv"}
LIMITS = JobLimits(waiting=3, kept=4, rows=5, images=9)


def serve(models: Models, root: Path, *, draws: bool) -> Iterator[Api]:
    batcher = Batcher(most_waiting=64)
    jobs = Jobs(JobStore(root), models, batcher, at_once=64, limits=LIMITS)
    app = create_app(models, batcher, ApiSettings(count=4, body=10_000), jobs=jobs)
    if draws:
        batcher.start()
    jobs.start()
    yield Api(app, called(app), models, batcher)
    jobs.close()
    batcher.close()


@pytest.fixture
def api(models: Models, tmp_path: Path) -> Iterator[Api]:
    yield from serve(models, tmp_path / "jobs", draws=True)


@pytest.fixture
def still(models: Models, tmp_path: Path) -> Iterator[Api]:
    """Nothing is drawn."""
    yield from serve(models, tmp_path / "jobs", draws=False)


def done(client: Any, where: str) -> dict[str, Any]:
    for _ in range(6000):
        state: dict[str, Any] = client.get(where).json()
        if state["state"] in ("done", "failed"):
            return state
        time.sleep(0.01)
    raise AssertionError(state)


def test_a_job_gives_the_files_that_single_requests_give(api: Api) -> None:
    answer = api.client.post("/v1/jobs", json={"rows": ROWS})
    where = answer.headers["location"]
    assert (answer.status_code, where) == (202, f"/v1/jobs/{answer.json()['id']}")
    assert done(api.client, where) == answer.json() | {"state": "done", "done": 5, "of": 5, "error": None}
    singles = [{"prompt": "owl", "seed": 7, "index": index} for index in range(3)] + ROWS[1:]
    for number, single in enumerate(singles):
        image = api.client.get(f"{where}/images/{number}.png")
        assert image.headers["content-type"] == "image/png"
        assert image.content == api.client.post("/v1/images", json=single, headers={"Accept": "image/png"}).content
    table = list(csv.DictReader(api.client.get(f"{where}/manifest.csv").text.splitlines()))
    assert [(row["prompt"], row["seed"], row["index"]) for row in table] == [
        ("owl", "7", "0"), ("owl", "7", "1"), ("owl", "7", "2"), ("dog", "3", "4"), ("cat", "1", "0"),
    ]  # fmt: skip
    as_csv = api.client.post("/v1/jobs", content="prompt,seed,count\nowl,7,3\n", headers=CSV)
    again = as_csv.headers["location"]
    assert done(api.client, again)["of"] == 3
    assert api.client.get(f"{again}/images/2.png").content == api.client.get(f"{where}/images/2.png").content
    assert [job["id"] for job in api.client.get("/v1/jobs").json()["jobs"]] == [
        each.rpartition("/")[2] for each in (where, again)
    ]
    assert api.client.delete(where).status_code == 204
    assert [api.client.get(f"{where}{path}").status_code for path in ("", "/manifest.csv", "/images/0.png")] == [
        404
    ] * 3
    assert api.client.delete(where).status_code == 404


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        ({"json": {"rows": []}}, 422, "rows"),
        ({"json": {"rows": [{}, 3]}}, 422, "rows.1"),
        ({"json": {"rows": [{}, {"seed": 2**63}]}}, 422, "rows.1.seed"),
        ({"json": {"rows": [{"steps": 100_000}]}}, 422, "rows.0.steps"),
        ({"json": {"rows": [{"steps": 251}]}}, 422, "rows.0.steps"),
        ({"json": {"rows": [{}, {"count": 5}]}}, 422, "rows.1.count"),
        ({"json": {"rows": [{"count": 4}] * 3}}, 422, "rows.2.count"),
        ({"json": {"rows": [{}] * 6}}, 422, "rows"),
        ({"json": {"rows": [{}, {"model": "2"}]}}, 422, "rows.1.model"),
        ({"json": {"rows": [{"model": "2"}]}}, 404, "model"),
        ({"json": {"rows": [{"prompt": "fish"}]}}, 422, "rows.0.prompt"),
        ({"json": {"rows": [{}], "more": 1}}, 422, "more"),
        ({"content": b'{"rows": [{"guidance": NaN}]}', "headers": {"Content-Type": "application/json"}}, 422, None),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"content": b"seed\nx\n", "headers": CSV}, 422, "seed"),
        ({"content": b"prompt\ncat\nfish\n", "headers": CSV}, 422, "line 3.prompt"),
        ({"content": b"\xff", "headers": CSV}, 422, "body"),
        ({"content": b"seed\n" + b"1\n" * 6, "headers": CSV}, 422, "body"),
        ({"content": b"seed\n" + b"1\n" * 6000, "headers": CSV}, 413, None),
        ({"content": b"seed\n1\n", "headers": {"Content-Type": "text/plain"}}, 415, "Content-Type"),
    ],
)
def test_a_job_that_can_not_be_drawn_is_refused_with_its_place_and_leaves_nothing(
    still: Api, tmp_path: Path, sent: dict[str, Any], status: int, field: str | None
) -> None:
    answer = still.client.post("/v1/jobs", **sent)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert field in (None, error["field"])
    assert "\n" not in error["message"]
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_full_disk_is_no_bug_and_says_when_to_come_again(still: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(JobStore, "add", full)
    answer = still.client.post("/v1/jobs", json={"rows": ROWS})
    assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 30)
    assert "No space left" in answer.json()["error"]["message"]


def test_too_many_jobs_are_asked_to_come_later_and_a_removed_one_makes_room(still: Api) -> None:
    accepted = [still.client.post("/v1/jobs", json={"rows": ROWS}) for _ in range(4)]
    assert [each.status_code for each in accepted] == [202, 202, 202, 429]
    assert int(accepted[3].headers["retry-after"]) >= 1
    assert still.client.delete(accepted[1].headers["location"]).status_code == 204
    assert still.client.post("/v1/jobs", json={"rows": ROWS}).status_code == 202
    waiting = accepted[2].headers["location"]
    assert still.client.get(waiting).json()["state"] == "waiting"
    assert [still.client.get(f"{waiting}{path}").status_code for path in ("/manifest.csv", "/images/0.png")] == [
        404
    ] * 2


@pytest.mark.parametrize("known", ["0" * 32, "A" * 32, "0" * 31, "..", "%2e%2e", "..%2f..%2fetc", "0" * 32 + "%0a"])
def test_an_id_that_is_none_touches_no_file(api: Api, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: Any) -> Any:
        raise AssertionError

    for name in ("image", "manifest", "drawn", "remove"):
        monkeypatch.setattr(JobStore, name, touched)
    for path in ("", "/manifest.csv", "/images/0.png"):
        assert api.client.get(f"/v1/jobs/{known}{path}").status_code in (404, 422)
    assert api.client.delete(f"/v1/jobs/{known}").status_code in (404, 422)


@pytest.mark.slow
def test_a_killed_and_restarted_server_loses_no_accepted_job(tiny_weights: Path, tmp_path: Path) -> None:
    import httpx2

    rows = [{"prompt": "cat", "seed": seed, "count": 8, "steps": 6} for seed in range(6)]
    options = ("--jobs", str(tmp_path / "jobs"))
    with running(tiny_weights, tmp_path / "whole.log", "--jobs", str(tmp_path / "whole")) as server:
        client = httpx2.Client(base_url=server.url, timeout=60)
        whole = client.post("/v1/jobs", json={"rows": rows}).headers["location"]
        done(client, whole)
        expected = [client.get(f"{whole}/images/{number}.png").content for number in range(48)]
        manifest = client.get(f"{whole}/manifest.csv").content
    with running(tiny_weights, tmp_path / "first.log", *options) as server:
        client = httpx2.Client(base_url=server.url, timeout=60)
        accepted = [client.post("/v1/jobs", json={"rows": rows}).headers["location"] for _ in range(3)]
        while client.get(accepted[0]).json()["done"] < 10:
            time.sleep(0.01)
        server.process.kill()
    with running(tiny_weights, tmp_path / "second.log", *options) as server:
        client = httpx2.Client(base_url=server.url, timeout=60)
        for job in accepted:
            assert (done(client, job)["state"], client.get(f"{job}/manifest.csv").content) == ("done", manifest)
            assert [client.get(f"{job}/images/{number}.png").content for number in range(48)] == expected
