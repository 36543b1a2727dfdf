"""One request, one file: as pyfunc, from a server in all its forms, in a job, of a batch, alone and amid others."""

import base64
import csv
import io
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rediffuse.params import load_params
from rediffuse.serving.models import source
from rediffuse.serving.pyfunc import ImageModel
from rediffuse.workspace import Workspace
from stages.generate import main as generate
from stages.sample import sample
from tests.serving.browser import chromium
from tests.serving.server import Server
from tests.serving.test_page import downloaded, draws, opened

SEED = 3  # of the section `sample` of the tiny model
PIPELINE: list[dict[str, Any]] = [{"seed": SEED, "index": index} for index in range(6)]
OTHERWISE: list[dict[str, Any]] = [
    {"prompt": "owl", "seed": SEED},
    {"prompt": "cat", "seed": SEED},
    {"prompt": "dog", "seed": SEED},
    {"prompt": "owl and (cat:0.5) --no dog", "seed": SEED},
    {"prompt": "owl", "seed": SEED, "sampler": "ddim", "steps": 5, "guidance": 2.5},
    {"prompt": "owl", "seed": SEED, "temperature": 0.5},
    {"label": "cat", "seed": -(2**63), "index": 7},
    {"prompt": "owl", "seed": SEED, "to_seed": 2**60, "share": 0.25},
]
ASKED = PIPELINE + OTHERWISE
PARAMS = ("sampler", "steps", "guidance", "temperature")  # of pyfunc, that are no columns


@pytest.fixture(scope="module")
def expected(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The files of the registered model's form, in this process."""
    parts = tmp_path_factory.mktemp("parts")
    source(str(tiny_weights)).newest().fetch(parts)
    model = ImageModel()
    model.load_context(SimpleNamespace(artifacts={path.stem: str(path) for path in parts.iterdir()}))

    def drawn(request: dict[str, Any]) -> bytes:
        row = {name: value for name, value in request.items() if name not in PARAMS}
        params = {name: value for name, value in request.items() if name in PARAMS}
        (content,) = model.predict(None, pd.DataFrame([row], dtype=object), params)["png"]
        return content

    return [drawn(request) for request in ASKED]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


def as_json(client: httpx2.Client, request: dict[str, Any]) -> bytes:
    (image,) = client.post("/v1/images", json=request).raise_for_status().json()["images"]
    return base64.b64decode(image["png"])


def as_png(client: httpx2.Client, request: dict[str, Any]) -> bytes:
    return client.post("/v1/images", json=request, headers={"Accept": "image/png"}).raise_for_status().content


def as_events(client: httpx2.Client, request: dict[str, Any]) -> bytes:
    answer = client.post("/v1/images?frames=3", json=request, headers={"Accept": "text/event-stream"})
    name, data = answer.raise_for_status().text.strip().split("\n\n")[-1].split("\n")
    assert name == "event: done"
    (image,) = json.loads(data.removeprefix("data: "))["images"]
    return base64.b64decode(image["png"])


def as_job(client: httpx2.Client) -> list[bytes]:
    """All that are asked for."""
    job = client.post("/v1/jobs", json={"rows": ASKED}).raise_for_status().headers["location"]
    while (state := client.get(job).json()["state"]) != "done":
        assert state in ("waiting", "drawing")
        time.sleep(0.02)
    return [client.get(f"{job}/images/{number}.png").raise_for_status().content for number in range(len(ASKED))]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_pixels_are_the_stage_s_and_no_two_requests_share_an_image(
    expected: list[bytes], tiny_weights: Path, tmp_path: Path
) -> None:
    workspace = Workspace.at(tmp_path)
    shutil.copytree(tiny_weights.parent, workspace.denoiser.parent)
    shutil.copy(tiny_weights, workspace.raw)
    params = load_params(tiny_weights.parents[1] / "params.yaml")
    assert params.sample.seed == SEED
    sample(params, workspace)
    for content, image in zip(expected, np.load(workspace.sampled_images), strict=False):
        assert np.array_equal(pixels(content), image[0])
    assert len({pixels(content).tobytes() for content in expected[len(PIPELINE) :]}) == len(OTHERWISE)


def test_a_batch_on_the_command_line_writes_the_same_files(
    expected: list[bytes], tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_weights.parents[1])
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    names = sorted({name for request in ASKED for name in request})
    with rows.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(ASKED)
    generate(["--prompts", str(rows), "--out", str(out)])
    assert [path.read_bytes() for path in sorted(out.glob("*.png"))] == expected


def test_a_server_answers_with_the_same_files_in_every_form(client: httpx2.Client, expected: list[bytes]) -> None:
    assert {form(client, ASKED[9]) for form in (as_json, as_png, as_events)} == {expected[9]}
    together = client.post("/v1/images", json={"seed": SEED, "count": 6}).raise_for_status().json()["images"]
    assert [base64.b64decode(image["png"]) for image in together] == expected[:6]
    assert as_job(client) == expected


def test_amid_sixteen_others_the_files_are_the_same(client: httpx2.Client, expected: list[bytes]) -> None:
    samplers = ("dpmpp_2m", "ddim", "euler_maruyama")
    words = ("owl", "cat", "dog", "{cat|dog}", "owl and dog", "cat --no owl", "", "an owl, (cat:0.5)")
    others = [
        {"prompt": words[number % 8], "seed": 100 + number, "sampler": samplers[number % 3], "steps": 2 + number % 2}
        for number in range(16)
    ]

    with ThreadPoolExecutor(32) as threads:
        # While this one is drawn, who comes next waits, and shares batches.
        threads.submit(as_json, client, {"seed": 0, "steps": 100})
        asked = [threads.submit(client.post, "/v1/images", json=request) for request in others]
        forms = (as_json, as_png, as_events)
        mine = [threads.submit(forms[number % 3], client, request) for number, request in enumerate(ASKED)]
        job = threads.submit(as_job, client)
        assert [each.result() for each in mine] == expected
        assert job.result() == expected
        assert {each.result().status_code for each in asked} == {200}


@pytest.mark.slow
def test_the_page_s_download_is_the_same_file(server: Server, expected: list[bytes]) -> None:
    with chromium() as browser:
        page = browser.new_page(base_url=server.url)
        page.set_default_timeout(60_000)
        opened(page, "/")
        draws(page, prompt="owl and (cat:0.5) --no dog", seed=SEED, count=1)
        assert downloaded(page) == expected[9]
