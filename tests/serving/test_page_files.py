"""The page's files: all of them are in the package, come from this server alone, and are sent once."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import rediffuse
from rediffuse.serving.api.page import page_files, page_router
from tests.serving.server import CHECKOUT

PAGE = Path(rediffuse.__file__).parent / "serving" / "page"


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_router())
    return TestClient(app)


def test_each_file_is_sent_once_with_its_type_and_a_policy_that_lets_nothing_else_in(client: TestClient) -> None:
    types = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
    for name in sorted(path.name for path in PAGE.iterdir()):
        address = "/" if name == "index.html" else f"/static/{name}"
        answer = client.get(address)
        assert answer.content == (PAGE / name).read_bytes()
        assert answer.headers["content-type"].startswith(types[name.rpartition(".")[2]])
        assert "default-src 'self'; img-src data: blob:;" in answer.headers["content-security-policy"]
        again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapi%2Fpage.py", "%2e%2e%2fanswers.py", ""])
def test_nothing_else_is_sent(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_each_file_that_the_page_names_is_in_the_package() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["rediffuse"]
    for path in PAGE.iterdir():
        assert any(fnmatch(f"serving/page/{path.name}", pattern) for pattern in patterns), path.name
    known = page_files()
    for name, file in known.items():
        text = file.content.decode("utf-8")
        named = re.findall(r'(?:static|\.)/([\w.]+\.(?:js|css))"', text)
        assert set(named) <= set(known), name
        # The namespace of SVG is a name, not an address.
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), name


def test_every_element_that_a_module_looks_for_is_there() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    made = {"count", "way", "share", "steps", "guidance", "temperature", "index"}
    for path in PAGE.glob("*.js"):
        for name in re.findall(r'byId\("([\w-]+)"\)', path.read_text(encoding="utf-8")):
            assert name in made or f'id="{name}"' in html, (path.name, name)
