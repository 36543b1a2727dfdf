"""What can't be answered is refused with its field and what is allowed, and the next request is answered (case 52)."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Request

from tests.serving.api.conftest import Api

GOOD = {"label": "owl", "seed": 7}


@pytest.mark.parametrize(
    ("body", "status", "field", "said"),
    [
        ('{"label": "owl", "count": 1000000000}', 422, "count", "at most 16"),
        ('{"label": "owl", "steps": -1}', 422, "steps", "1 to 10000"),
        ('{"label": "owl", "steps": 9999}', 422, "steps", "at most 250"),
        ('{"label": "owl", "seed": 1180591620717411303424}', 422, "seed", "2^63"),
        ('{"label": "owl", "guidance": NaN}', 422, "guidance", "a number from 0 to 100"),
        ('{"label": "owl", "guidance": Infinity}', 422, "guidance", "a number from 0 to 100"),
        ('{"label": "owl", "guidance": 21}', 422, "guidance", "at most 20"),
        ('{"label": "owl", "temperature": 1e400}', 422, "temperature", "a number from 0 to 10"),
        ('{"label": "../../etc/passwd"}', 422, "label", "cat, dog, owl"),
        ('{"prompt": "an owll"}', 422, "prompt", "owl"),
        ('{"prompt": "owl", "label": "owl"}', 422, "label", "one is allowed"),
        ('{"label": "owl", "sampler": "magic"}', 422, "sampler", "ddim"),
        ('{"label": "owl", "seed": "7"}', 422, "seed", "2^63"),
        ('{"label": "owl", "to_seed": 1}', 422, "count", "2 or more"),
        ('{"label": "owl", "prom\\ud800pt": 1}', 422, "body", "valid string"),
        ('{"prompt": "\\ud800"}', 422, "prompt", "at most 2000 characters"),
        ('{"label": "owl", "model": "3"}', 404, "model", "none"),
        ('{"label": ', 400, "body", "JSON"),
        ("[" * 100_000, 400, "body", "read"),
        ('{"seed": ' + "9" * 10_000 + "}", 400, "body", "read"),
        ("[1]", 422, "body", "a JSON object"),
        ("", 422, "body", "a JSON object"),
    ],
)
def test_a_bad_field_is_named(api: Api, body: str, status: int, field: str, said: str) -> None:
    answer = api.client.post("/v1/images", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["field"] == field
    assert said in f"{error['message']} {error['allowed']}"
    assert "NaN" not in json.dumps(answer.json(), allow_nan=False)
    assert api.client.post("/v1/images", json=GOOD).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        ("POST", "/v1/images", {"Content-Type": "text/plain"}, b'{"label": "owl"}', 415),
        ("POST", "/v1/images", {}, b'{"label": "owl"}', 415),
        ("POST", "/v1/images?frames=33", {"Content-Type": "application/json"}, b'{"label": "owl"}', 422),
        ("POST", "/v1/images", {"Content-Type": "application/json", "Accept": "image/png"}, b'{"count": 2}', 406),
        ("POST", "/v1/record", {"Content-Type": "image/png"}, b"\x89PNG\r\n\x1a\nno", 422),
        ("POST", "/v1/record", {"Content-Type": "image/jpeg"}, b"", 415),
        ("GET", "/v1/model?model=..%2F..%2Fetc", {}, b"", 404),
        ("GET", "/v1/../../etc/passwd", {}, b"", 404),
        ("GET", "/static/..%2f..%2f__main__.py", {}, b"", 404),
        ("DELETE", "/v1/images", {}, b"", 405),
    ],
)
def test_what_is_not_there_or_not_taken_is_told_in_the_same_form(
    api: Api, method: str, path: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = api.client.request(method, path, headers=headers, content=content)

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"field", "message", "allowed"}


def test_a_long_body_is_refused_while_it_streams_and_not_kept(make_api: Callable[..., Api]) -> None:
    app, sent, taken = make_api(draws=False, body=2**20).app, [], 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * 2**16, "more_body": taken < 2**14}  # 1 GB in all

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope("/v1/images"), receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["message"]
    assert taken <= 2**20 // 2**16 + 1


def scope(path: str, accept: str = "application/json") -> dict[str, Any]:
    headers = {"host": "127.0.0.1", "content-type": "application/json", "accept": accept}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def test_a_full_queue_says_when_to_come_again(make_api: Callable[..., Api]) -> None:
    api = make_api(draws=False, waiting=4, count=4, timeout=0.05)

    for form in ("application/json", "text/event-stream"):
        holding = api.batcher.submit(*wanted(api, 2))
        answer = api.client.post("/v1/images", json={**GOOD, "count": 3}, headers={"Accept": form})
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]["field"] == "count"
        holding.cancel()


def wanted(api: Api, count: int) -> tuple[Any, Any]:
    from rediffuse.serving.request import ImageRequest
    from rediffuse.serving.request import wanted as images

    answers = api.models.current().answers
    return answers, images(ImageRequest(label="owl", seed=0, count=count), answers, count)


def test_what_is_not_drawn_in_time_is_told_and_drawn_no_more(make_api: Callable[..., Api]) -> None:
    api = make_api(draws=False, timeout=0.02)

    answer = api.client.post("/v1/images", json=GOOD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    stream = api.client.post("/v1/images", json=GOOD, headers={"Accept": "text/event-stream"})
    assert '"status": 503' in stream.text.split("event: error")[1]
    assert api.batcher.waiting == 0


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_client_that_leaves_takes_its_images_along(make_api: Callable[..., Api], accept: str) -> None:
    api = make_api(draws=False)
    waited: list[int] = []

    async def left() -> None:
        body = [{"type": "http.request", "body": json.dumps(GOOD).encode(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            while not api.batcher.waiting:
                await asyncio.sleep(0)
            waited.append(api.batcher.waiting)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            pass

        await api.app(scope("/v1/images", accept), receive, send)

    asyncio.run(asyncio.wait_for(left(), 60))
    assert (waited, api.batcher.waiting) == ([1], 0)


def test_a_server_that_ends_tells_who_waits(make_api: Callable[..., Api]) -> None:
    api = make_api()
    assert api.client.get("/healthz").status_code == 200
    api.batcher.close()
    assert api.client.get("/healthz").status_code == 503

    answer = api.client.post("/v1/images", json=GOOD)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_bug_has_an_id_and_its_log_no_word_of_the_request(
    make_api: Callable[..., Api], caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter()

    @router.post("/broken")
    async def broken(request: Request) -> None:
        raise RuntimeError(f"{await request.body()!r} {request.headers}")

    with caplog.at_level(logging.DEBUG):
        answer = make_api(router, draws=False).client.post(
            "/broken", content=b"body-secret", headers={"X-Own": "header-secret"}
        )

    assert answer.status_code == 500
    known = answer.json()["error"]["message"].split()[-1]
    assert known in caplog.text
    assert "RuntimeError" in caplog.text
    assert "in broken" in caplog.text
    assert "secret" not in caplog.text + answer.text


TOKEN = "a-token-of-thirty-two-characters"


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/healthz", None, 200),
        ("/", None, 200),
        ("/v1/model", None, 401),
        ("/metrics", None, 401),
        ("/openapi.json", None, 401),
        ("/nothing", None, 401),
        ("/v1/model", f"Bearer {TOKEN[:-1]}", 401),
        ("/v1/model", f"Basic {TOKEN}", 401),
        ("/v1/model", "Bearer \xff", 401),
        ("/v1/model", f"Bearer {TOKEN}", 200),
        ("/v1/model", f"bearer {TOKEN}", 200),
    ],
)
def test_a_token_is_wanted_by_all_that_tells_something(
    make_api: Callable[..., Api], path: str, header: str | None, status: int
) -> None:
    client = make_api(token=TOKEN).client
    headers = {"Authorization": header.encode("latin-1")} if header else {}

    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    assert (answer.headers.get("WWW-Authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("evil.example:8000", 421), ("", 421)],
)
def test_a_name_that_was_made_to_point_here_is_not_answered(api: Api, host: str, status: int) -> None:
    assert api.client.get("/v1/model", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/model", "/static/none"])
def test_head_is_answered_as_get_without_its_body(api: Api, path: str) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    whole, head = api.client.get(path), api.client.head(path)
    assert (head.status_code, head.headers) == (whole.status_code, whole.headers)
    asyncio.run(api.app({**scope(path), "method": "HEAD"}, receive, send))
    assert b"".join(message.get("body", b"") for message in sent) == b""
    assert api.client.head("/v1/images").status_code == 405


def test_metrics_count_by_route_and_not_by_path(make_api: Callable[..., Api]) -> None:
    client = make_api().client
    client.post("/v1/images", json={**GOOD, "count": 3})
    client.post("/v1/images", json={"label": "no"})
    client.get("/a-path-of-their-own")
    client.head("/healthz")

    text = client.get("/metrics").text
    for line in (
        'rediffuse_requests_total{method="POST",route="/v1/images",status="200"} 1.0',
        'rediffuse_requests_total{method="POST",route="/v1/images",status="422"} 1.0',
        'rediffuse_requests_total{method="GET",route="none",status="404"} 1.0',
        'rediffuse_requests_total{method="HEAD",route="/healthz",status="200"} 1.0',
        "rediffuse_images_total 3.0",
        "rediffuse_batch_images_sum 3.0",
        "rediffuse_waiting_images 0.0",
        "rediffuse_model_swaps_total 0.0",
        "rediffuse_batch_size 4.0",
    ):
        assert f"{line}\n" in text
    assert "rediffuse_model_info{" in text
    assert "their-own" not in text
