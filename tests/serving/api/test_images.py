"""The same request is the same bytes, in whatever form it is answered and whoever asks beside it."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from rediffuse.serving.record import read_record
from tests.serving.api.conftest import Api
from tests.serving.tiny import CLASSES, tiny

ONE = {"label": "owl", "seed": 7, "index": 2}


def events(text: str) -> list[tuple[str, dict]]:
    parts = [part for part in text.split("\n\n") if part and not part.startswith(":")]
    return [(part.split("\n")[0].removeprefix("event: "), json.loads(part.split("data: ", 1)[1])) for part in parts]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_images_are_the_pipeline_s(api: Api) -> None:
    answers, seed = api.models.current().answers, tiny().sample.seed
    labels = np.array([CLASSES.index(answers.label_at(index)) for index in range(6)])
    expected = np.concatenate(list(answers._sampling(answers.settings).images(labels)))

    drawn = api.client.post("/v1/images", json={"seed": seed, "count": 6}).json()

    assert [image["prompt"] for image in drawn["images"]] == [CLASSES[label] for label in labels]
    for image, pipeline in zip(drawn["images"], expected, strict=True):
        assert np.array_equal(pixels(base64.b64decode(image["png"])), pipeline[0])


def test_json_png_and_events_hold_the_same_file(api: Api) -> None:
    as_json = api.client.post("/v1/images", json=ONE)
    as_png = api.client.post("/v1/images", json=ONE, headers={"Accept": "image/png"})
    as_events = api.client.post("/v1/images", json=ONE, headers={"Accept": "text/event-stream"})

    assert [each.headers["content-type"].partition(";")[0] for each in (as_json, as_png, as_events)] == [
        "application/json",
        "image/png",
        "text/event-stream",
    ]
    (first, *_, (last, done)) = events(as_events.text)
    assert (first[0], last, done) == ("queued", "done", as_json.json())
    assert base64.b64decode(done["images"][0]["png"]) == as_png.content
    record = read_record(as_png.content)
    assert (record.prompt, record.seed, record.index, record.model) == ("owl", 7, 2, done["model"])


def test_events_show_the_images_on_their_way(api: Api) -> None:
    asked = {"prompt": "owl, cat", "seed": 3, "steps": 6}
    answer = api.client.post("/v1/images?frames=4", json=asked, headers={"Accept": "text/event-stream"})

    steps = [data for name, data in events(answer.text) if name == "step"]
    assert len(steps) == 4
    assert [step["of"] for step in steps] == [6] * 4
    assert [step["done"] for step in steps] == sorted({step["done"] for step in steps})
    done = events(answer.text)[-1][1]
    for picture, image in zip(steps[-1]["images"], done["images"], strict=True):
        assert np.array_equal(pixels(base64.b64decode(picture)), pixels(base64.b64decode(image["png"])))
    assert api.client.post("/v1/images?frames=0", json=asked, headers={"Accept": "text/event-stream"}).text.count(
        "event: step"
    ) in (0, 1)


def test_an_image_does_not_depend_on_its_neighbours(api: Api) -> None:
    alone = api.client.post("/v1/images", json=ONE).content
    others = [{"label": CLASSES[i % 3], "seed": i, "count": 1 + i % 3, "steps": 2 + i % 2} for i in range(15)]

    with ThreadPoolExecutor(16) as threads:
        asked = [threads.submit(api.client.post, "/v1/images", json=each) for each in [*others[:8], ONE, *others[8:]]]
    assert {each.result().status_code for each in asked} == {200}
    assert asked[8].result().content == alone


def test_a_request_without_a_seed_says_which_it_took(api: Api) -> None:
    first = api.client.post("/v1/images", json={"prompt": "owl"}).json()
    again = api.client.post("/v1/images", json={"prompt": "owl", "seed": first["seed"]}).json()
    other = api.client.post("/v1/images", json={"prompt": "cat", "seed": first["seed"]}).json()

    assert first == again
    assert other["images"][0]["png"] != first["images"][0]["png"]


def test_a_record_is_read_and_draws_the_same(api: Api) -> None:
    asked = {"prompt": "owl and (cat:0.5)", "seed": 1, "to_seed": 2, "share": 0.3, "sampler": "ddim", "steps": 3}
    first = api.client.post("/v1/images", json=asked, headers={"Accept": "image/png"}).content

    read = api.client.post("/v1/record", content=first, headers={"Content-Type": "image/png"}).json()
    assert (read["seed"], read["to_seed"], read["share"], read["sampler"]) == (1, 2, 0.3, "ddim")
    del read["model"]
    assert api.client.post("/v1/images", json=read, headers={"Accept": "image/png"}).content == first


def test_a_prompt_is_understood_without_drawing(api: Api) -> None:
    meant = api.client.post("/v1/understand", json={"prompt": "{owl|(cat:1.5) and dog} --seed 5"}).json()

    assert meant["seed"] == 5
    assert [[(term["label"], term["weight"]) for term in each["terms"]] for each in meant["variants"]] == [
        [("owl", 1.0)],
        [("cat", 1.5), ("dog", 1.0)],
    ]


def test_the_model_says_what_may_be_asked(api: Api) -> None:
    model = api.client.get("/v1/model").json()

    assert (model["classes"], model["shape"], model["settings"]["steps"]) == (list(CLASSES), [1, 8, 8], 2)
    assert model["limits"]["count"] == [1, 16]
    assert model["identity"] == api.models.current().answers.identity
    most = {"label": "owl", "seed": 0, "count": model["limits"]["count"][1], "steps": 3}
    assert api.client.post("/v1/images", json=most).status_code == 200


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("image/png;q=0.5, application/json;q=0.4", "image/png"),
        ("image/*", "image/png"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=0, */*", "image/png"),
        ("text/html", None),
    ],
)
def test_accept_chooses_the_form(api: Api, accept: str, form: str | None) -> None:
    answer = api.client.post("/v1/images", json=ONE, headers={"Accept": accept})

    assert answer.status_code == (200 if form else 406)
    assert answer.headers["content-type"] == (form or "application/json")


def test_two_accept_headers_are_one(api: Api) -> None:
    answer = api.client.post(
        "/v1/images", json=ONE, headers=[("Accept", "application/json;q=0.1"), ("Accept", "image/png")]
    )
    assert answer.headers["content-type"] == "image/png"
