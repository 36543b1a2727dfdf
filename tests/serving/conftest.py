"""What the tests of a served model share: a tiny model, and a real server of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.server import Server, running
from tests.serving.tiny import write_tiny


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/denoiser.safetensors` of a tiny model, its params.yaml where a checkout has it; not to be changed."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def server(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server of the tiny model, for all tests of one file; who stops it starts one with `running`."""
    folder = tmp_path_factory.mktemp("server")
    with running(tiny_weights, folder / "log") as server:
        yield server
