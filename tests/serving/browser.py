"""A real browser: the system's Chromium, driven by Playwright; who has neither skips what needs it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.height, canvas.width, [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def pixels(image: Any) -> np.ndarray:
    """What an <img> shows, H×W×4, uint8: as the browser decoded it, at the size that the file has."""
    height, width, values = image.evaluate(_PIXELS)
    return np.array(values, np.uint8).reshape(height, width, 4)


def grey(image: np.ndarray) -> np.ndarray:
    """A 1×H×W image as a browser has it."""
    return np.stack([*[image[0]] * 3, np.full_like(image[0], 255)], -1)
