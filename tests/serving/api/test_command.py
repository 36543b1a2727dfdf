"""`python -m rediffuse.serving`: what it refuses, and a server that starts, answers and ends."""

import os
import shutil
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from rediffuse.serving.__main__ import main
from tests.serving.server import Server, running

TOKEN = "a-token-of-thirty-two-characters"
SECRET = "a-secret-of-the-environment"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--host", "::"], "there is no token"),
        (["--host", "no such host"], "no address"),
        (["--token-file", "missing"], "missing can't be read"),
        (["--token-file", "short"], "at least 16"),
        (["--model", "nothing.safetensors"], "nothing.safetensors"),
        (["--model", "foreign/models/denoiser.safetensors"], "denoiser.safetensors"),
        (["--model", "models:/digits@champion"], "models:/digits@champion"),
        ([], "there is no model to serve"),
    ],
)
def test_what_can_not_be_served_is_one_line_and_exit_2(
    options: list[str],
    said: str,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIFFUSE_TOKEN", raising=False)
    (tmp_path / "short").write_text("0123456789")
    (tmp_path / "foreign" / "models").mkdir(parents=True)
    (tmp_path / "foreign" / "models" / "denoiser.safetensors").write_bytes(b"foreign")
    shutil.copyfile(tiny_weights.parents[1] / "params.yaml", tmp_path / "foreign" / "params.yaml")

    assert main(["--port", "0", *options]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith("serving: ")
    assert said in error
    assert "0123456789" not in error


def test_a_port_in_use_is_told_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--model", "not looked at"]) == 2
    assert f"{port} is in use" in capsys.readouterr().err


def test_a_token_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from rediffuse.serving.token import token_of

    monkeypatch.setenv("REDIFFUSE_TOKEN", TOKEN)
    assert token_of(None) == TOKEN
    assert "REDIFFUSE_TOKEN" not in os.environ


def test_a_server_answers_keeps_its_secrets_and_ends_at_sigterm(tiny_weights: Path, tmp_path: Path) -> None:
    with running(
        tiny_weights, tmp_path / "log", "--host", "0.0.0.0", REDIFFUSE_TOKEN=TOKEN, OWN_SECRET=SECRET
    ) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        told = [
            httpx2.post(f"{server.url}/v1/images", json={"label": "owl", "seed": 1}, headers=headers),
            httpx2.post(f"{server.url}/v1/images", json={"label": "no"}, headers=headers),
            httpx2.get(f"{server.url}/v1/model"),
            httpx2.get(f"{server.url}/metrics", headers=headers),
        ]
        assert [answer.status_code for answer in told] == [200, 422, 401, 200]
        assert announced(server, 10**9).startswith(b"HTTP/1.1 413 ")
        assert server.stop(signal.SIGTERM) == 0
        said = server.log.read_text() + "".join(f"{answer.headers}{answer.text}" for answer in told)
    assert TOKEN not in said
    assert SECRET not in said


def announced(server: Server, length: int) -> bytes:
    """The first line of the answer to a body of which only the length was sent."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = f"POST /v1/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        return connection.recv(100)
