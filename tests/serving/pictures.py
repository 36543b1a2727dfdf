"""The pictures of the page in docs/: `python tests/serving/pictures.py http://127.0.0.1:8000 docs/pictures`."""

import sys
from pathlib import Path
from typing import Any

from browser import chromium  # beside this script

SETTLED = "#results[aria-busy=false] .tile:enabled .caption"


def take(address: str, folder: Path) -> None:
    """Write page.png and page-phone.png of the server at this address."""
    with chromium() as browser:
        desk = _tab(browser, address, {"width": 1200, "height": 920}, "light")
        _draw(desk, "{3|5|8}", seed="7", count="6")
        desk.screenshot(path=folder / "page.png")
        phone = _tab(browser, address, {"width": 360, "height": 640}, "dark")
        _draw(phone, "8")
        phone.screenshot(path=folder / "page-phone.png", full_page=True)


def _tab(browser: Any, address: str, size: dict[str, int], scheme: str) -> Any:
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]")
    return page


def _draw(page: Any, prompt: str, **fields: str) -> None:
    page.fill("#prompt", prompt)
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.wait_for_selector(".pill")
    page.click("#draw")
    page.wait_for_selector(SETTLED)
    page.mouse.move(0, 0)


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]))
