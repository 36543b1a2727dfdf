"""In a real browser, before a real server: the page draws what is typed, and its pixels are the model's."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rediffuse.prompts import Term
from rediffuse.serving.answers import Answers
from rediffuse.serving.models import Models, source
from rediffuse.serving.wanted import Origin, Wanted
from tests.serving.browser import chromium, grey, pixels
from tests.serving.server import Server

PHONE = {"width": 360, "height": 740}
EXPECTED = ("429", "401", "422")  # answers that a browser writes to its console, whatever a page makes of them


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A tab of its own with the page; nothing may go wrong in it."""
    context = browser.new_context(base_url=server.url)
    context.set_default_timeout(30_000)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    opened(page, "/")
    yield page
    context.close()
    assert [line for line in wrong if not any(status in line for status in EXPECTED)] == []


@pytest.fixture(scope="module")
def answers(tiny_weights: Path) -> Iterator[Answers]:
    models = Models(source(str(tiny_weights)))
    models.start()
    yield models.current().answers
    models.close()


def opened(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]")


def draws(page: Any, **fields: Any) -> list[np.ndarray]:
    """The images that the page shows, once it was told these values of its controls."""
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))
    page.click("#draw")
    return shown(page)


def shown(page: Any) -> list[np.ndarray]:
    page.wait_for_selector("#results[aria-busy=false] .tile:enabled img")
    images = page.locator(".tile img")
    return [pixels(images.nth(at)) for at in range(images.count())]


def model_s(answers: Answers, label: str, *origins: tuple[int, int]) -> list[np.ndarray]:
    wanted = [Wanted((Term(label),), Origin(*origin), answers.settings) for origin in origins]
    return [grey(image) for image in answers.images(wanted)]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def downloaded(page: Any) -> bytes:
    page.click(".tile >> nth=0")
    with page.expect_download() as download:
        page.click(".viewer a[download]")
    page.keyboard.press("Escape")
    return Path(download.value.path()).read_bytes()


def test_what_is_typed_is_drawn_and_the_same_seed_gives_the_same_pixels(page: Any, answers: Answers) -> None:
    greatest = 2**63 - 1  # beyond the whole numbers that JavaScript's own hold
    first = draws(page, prompt="owl", seed=greatest, count=2)
    assert same(first, model_s(answers, "owl", (greatest, 0), (greatest, 1)))
    assert f"of seed {greatest} " in page.inner_text("#status")

    # Back to the noise, and to the images again.
    slider = page.locator(".film input[type=range]")
    slider.fill("0")
    assert not same(shown(page), first)
    slider.fill(slider.get_attribute("max"))
    assert same(shown(page), first)

    link = page.evaluate("location.href")
    other = draws(page, prompt="cat")
    assert same(other, model_s(answers, "cat", (greatest, 0), (greatest, 1)))
    assert not same(other, first)
    page.goto("about:blank")
    opened(page, link)
    assert same(shown(page), first)


def test_a_word_that_is_not_known_shows_the_known_ones_beside_the_prompt(page: Any) -> None:
    page.fill("#prompt", "owll")
    page.wait_for_selector("#problem-prompt:visible")
    said = page.inner_text("#problem-prompt")
    assert all(word in said for word in ("owll", "cat", "dog", "owl"))
    assert page.get_attribute("#prompt", "aria-invalid") == "true"

    page.fill("#prompt", "")
    page.click("#classes button >> text=dog")
    page.click("#classes button >> text=cat")
    assert page.input_value("#prompt") == "dog, cat"
    page.wait_for_selector(".pill >> nth=1")
    assert page.locator(".pill").all_inner_texts() == ["dog", "cat"]
    assert page.is_hidden("#problem-prompt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("control", "value"), [("steps", "0"), ("seed", str(2**63)), ("seed", "seven"), ("count", "99")]
)
def test_a_refusal_stands_beside_its_control(page: Any, control: str, value: str) -> None:
    page.fill("#prompt", "cat")
    page.fill(f"#{control}", value)
    page.click("#draw")
    page.wait_for_selector(f"#problem-{control}:visible")
    assert control in page.inner_text(f"#problem-{control}")
    assert page.get_attribute(f"#{control}", "aria-invalid") == "true"
    assert page.locator(".problem:visible").count() == 1


def test_a_downloaded_image_is_reproduced_and_a_changed_one_is_told(page: Any) -> None:
    draws(page, prompt="dog", seed=7, count=2)
    file = downloaded(page)
    page.check("[name=mode][value=reproduce]")

    def verdict(content: bytes) -> str:
        page.set_input_files("#file", {"name": "dog.png", "mimeType": "image/png", "buffer": content})
        page.wait_for_selector("#results[aria-busy=false] .verdict")
        return page.inner_text(".verdict")

    assert verdict(file) == "The same pixels: all 64 of them."
    assert (page.input_value("#prompt"), page.input_value("#seed")) == ("dog", "7")
    assert verdict(changed(file)) == "Other pixels: 1 of 64 pixels differ, by up to 128 of 255."
    assert verdict(changed(file, model="0" * 64)).startswith("Other pixels")
    assert "another model (00000000)" in page.inner_text(".says")

    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": bare()})
    page.wait_for_selector("#problem:visible")
    assert "no record" in page.inner_text("#problem")


def changed(file: bytes, **fields: Any) -> bytes:
    """The file with other fields in its record, and another first pixel."""
    image = Image.open(io.BytesIO(file))
    info = PngInfo()
    info.add_itxt("rediffuse", json.dumps(json.loads(image.text["rediffuse"]) | fields))
    image.putpixel((0, 0), image.getpixel((0, 0)) ^ 128)
    return _png(image, info)


def bare() -> bytes:
    return _png(Image.new("L", (8, 8)), None)


def _png(image: Image.Image, info: PngInfo | None) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", pnginfo=info)
    return content.getvalue()


@pytest.mark.slow
def test_a_walk_goes_from_one_seed_to_the_other(page: Any, answers: Answers) -> None:
    page.check("[name=mode][value=walk]")
    images = draws(page, prompt="owl", seed=3, to_seed=2**40, way=5)
    assert len(images) == 5
    assert same([images[0], images[-1]], model_s(answers, "owl", (3, 0), (2**40, 0)))
    page.locator(".walk input").fill("0")
    assert np.array_equal(pixels(page.locator(".walk img")), images[0])


@pytest.mark.slow
def test_two_models_draw_the_same_request_side_by_side(page: Any, answers: Answers) -> None:
    # Of the two versions, "1" is played by the one model that is served, drawing at another temperature.
    version = {"name": "tiny", "aliases": [], "identity": None}
    listing = [version | {"version": "2", "current": True}, version | {"version": "1", "current": False}]
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": listing}))

    def draw(route: Any) -> None:
        fields = json.loads(route.request.post_data)
        if fields.pop("model", None) == "1":
            fields["temperature"] = 0.5
        route.continue_(post_data=json.dumps(fields))

    page.route("**/v1/images?*", draw)
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    page.check("[name=mode][value=compare]")
    assert page.input_value("#beside") == "1"
    one, other = draws(page, prompt="cat", seed=5, count=1)
    assert np.array_equal(one, model_s(answers, "cat", (5, 0))[0])
    assert not np.array_equal(one, other)
    assert page.locator(".gallery h2").all_inner_texts()[1] == "tiny, version 1"


@pytest.mark.slow
def test_cancel_ends_the_drawing_and_the_next_one_goes_on(page: Any, answers: Answers) -> None:
    page.fill("#prompt", "cat")
    page.fill("#steps", "250")
    page.fill("#count", "64")
    page.click("#draw")
    page.click("#cancel")
    page.wait_for_function("document.getElementById('status').textContent === 'Cancelled.'")
    page.fill("#steps", "")
    assert same(draws(page, seed=1, count=1), model_s(answers, "cat", (1, 0)))


@pytest.mark.slow
def test_a_busy_server_is_asked_again_and_a_token_is_asked_for(page: Any, answers: Answers) -> None:
    refused = []

    def guarded(route: Any) -> None:
        if route.request.headers.get("authorization") != "Bearer secret":
            route.fulfill(status=401, json={"error": {"field": None, "message": "no token", "allowed": None}})
        elif "/v1/images" in route.request.url and not refused:
            refused.append(route.request.url)
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": {"field": None, "message": "busy"}})
        else:
            route.continue_()

    page.route("**/v1/**", guarded)
    page.reload()
    for token in ("wrong", "secret"):
        page.fill("#token-text", token)
        page.click("#token-form button")
    page.wait_for_selector("html[data-ready=yes]")
    page.fill("#prompt", "dog")
    page.fill("#seed", "2")
    page.fill("#count", "1")
    page.click("#draw")
    page.wait_for_function("document.getElementById('status').textContent.includes('asking again in 1 second')")
    assert same(shown(page), model_s(answers, "dog", (2, 0)))


def test_a_phone_s_width_has_no_horizontal_scroll_bar(page: Any) -> None:
    page.set_viewport_size(PHONE)
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.is_hidden("#count")
    page.click("#settings > summary")
    draws(page, prompt="cat, dog, owl, cat and dog, cat and owl --seed 1234567890123456789", count=2)
    page.click("details.grammar summary")
    for mode in ("draw", "compare", "walk", "reproduce"):
        page.check(f"[name=mode][value={mode}]")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.click(".tile >> nth=0")
    wide = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.viewer *')].map(e => e.getBoundingClientRect().right))"
    )
    assert wide <= PHONE["width"]
