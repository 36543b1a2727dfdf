"""How weights get into their folder: fetched whole or not at all, copied from the lasting checkout, or asked for."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors import weights
from rediffuse.evaluation.extractors.dinov2 import read_dinov2
from rediffuse.evaluation.extractors.weights import INCEPTION, Source, bring_weights
from tests.evaluation.extractors.conftest import TINY_VIT, Settings


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *told: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that its files have on a server of this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_inception_is_fetched_once_and_only_the_right_file(
    served: tuple[Path, str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    (folder / INCEPTION).write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()[:8]
    chosen = settings("classifier", "inception")
    bring = partial(bring_weights, chosen, download=True, elsewhere=tmp_path / "nowhere")
    for source, message in (
        (Source(f"{url}/absent.pth", right), "absent.pth can't be fetched: HTTP Error 404"),
        (Source(f"{url}/{INCEPTION}", "0" * 8), "is not the file it should be"),
        (Source("http://127.0.0.1:1/x.pth", right), "can't be fetched: .*refused"),
    ):
        monkeypatch.setattr(weights, "INCEPTION_SOURCE", source)
        with pytest.raises(UserError, match=message):
            bring()
        assert names(chosen.weights) == set()
    monkeypatch.setattr(weights, "INCEPTION_SOURCE", Source(f"{url}/{INCEPTION}", right))
    bring()
    assert (chosen.weights / INCEPTION).read_bytes() == b"weights"
    (folder / INCEPTION).write_bytes(b"others")
    bring()
    assert (chosen.weights / INCEPTION).read_bytes() == b"weights"


def test_dinov2_is_fetched_by_timm(
    served: tuple[Path, str],
    settings: Settings,
    vit_weights: Path,
    pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from timm.models import _registry

    folder, url = served
    torch.save(load_file(vit_weights), folder / "vit.pth")
    known = replace(_registry._model_pretrained_cfgs[TINY_VIT], hf_hub_id=None, num_classes=0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    chosen = settings("dinov2")
    monkeypatch.setitem(_registry._model_pretrained_cfgs, TINY_VIT, replace(known, url=f"{url}/absent.pth"))
    with pytest.raises(UserError, match=f"timm can't fetch the weights of {TINY_VIT}: .*put them there by hand"):
        bring_weights(chosen, download=True, elsewhere=tmp_path / "nowhere")
    assert names(chosen.weights) == set()
    monkeypatch.setitem(_registry._model_pretrained_cfgs, TINY_VIT, replace(known, url=f"{url}/vit.pth"))
    bring_weights(chosen, download=True, elsewhere=tmp_path / "nowhere")
    assert names(chosen.weights) == {f"{TINY_VIT}.safetensors"}
    fetched = read_dinov2(chosen, tmp_path, torch.device("cpu"))
    (chosen.weights / f"{TINY_VIT}.safetensors").write_bytes(vit_weights.read_bytes())
    given = read_dinov2(chosen, tmp_path, torch.device("cpu"))
    assert np.array_equal(fetched.extract(pictures), given.extract(pictures))


def test_experiments_in_temporary_folders_fetch_to_the_lasting_one_once_for_all(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = tmp_path / "lasting"
    fetched = []

    def fetch(source: Source, path: Path) -> None:
        time.sleep(0.2)
        fetched.append(path)
        path.write_bytes(b"weights")

    monkeypatch.setattr(weights, "fetch", fetch)
    temporary = [replace(settings("inception"), weights=tmp_path / f"temporary {number}") for number in range(3)]
    threads = [
        threading.Thread(target=bring_weights, args=(chosen,), kwargs={"download": True, "elsewhere": lasting})
        for chosen in temporary
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [lasting / INCEPTION]
    for place in (lasting, *(chosen.weights for chosen in temporary)):
        assert [(path.name, path.read_bytes()) for path in place.iterdir()] == [(INCEPTION, b"weights")]


@pytest.mark.parametrize("name", [INCEPTION, f"{TINY_VIT}.safetensors", f"{TINY_VIT}.pth", "own/net.pt2"])
def test_a_file_of_the_lasting_checkout_is_copied_before_anything_is_fetched(
    name: str, settings: Settings, tmp_path: Path
) -> None:
    chosen = settings("inception", "dinov2", "custom", custom="own/net.pt2")
    lasting, others = tmp_path / "lasting", {INCEPTION, f"{TINY_VIT}.pth", "own/net.pt2"} - {name}
    for file in {name, *(other for other in others if not (TINY_VIT in name and TINY_VIT in other))}:
        path = (lasting if file == name else chosen.weights) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
    bring_weights(chosen, download=False, elsewhere=lasting)
    assert (chosen.weights / name).read_bytes() == name.encode()


@pytest.mark.parametrize(
    ("extractor", "custom", "message"),
    [
        ("inception", None, rf"holds no {INCEPTION}; put it there, or set reference.download: true and run `dvc repro"),
        ("dinov2", None, rf"holds no {TINY_VIT}.safetensors \(or .pth\); put it there, or set reference.download"),
        ("custom", "net.pt2", r"reference.custom is net.pt2, but .* holds no such file; put it there, or use module:"),
    ],
)
def test_a_missing_file_is_one_line_that_says_what_to_do(
    extractor: str, custom: str | None, message: str, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        bring_weights(settings(extractor, custom=custom), download=False, elsewhere=tmp_path / "nowhere")


@pytest.mark.parametrize(("extractor", "module"), [("inception", "torch_fidelity"), ("dinov2", "timm")])
def test_a_missing_library_is_one_line_that_says_what_to_install(
    extractor: str, module: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = weights.importlib.util.find_spec
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(UserError, match=rf"names {extractor}, which needs .*: pip install 'rediffuse\[extractors\]'"):
        bring_weights(settings(extractor), download=True, elsewhere=tmp_path)


def test_a_missing_folder_is_made_unless_an_extractor_reads_from_it(settings: Settings, tmp_path: Path) -> None:
    # DVC looks into it, whoever reads from it.
    unread = replace(settings("classifier"), weights=tmp_path / "unread")
    bring_weights(unread, download=False, elsewhere=tmp_path / "nowhere")
    assert unread.weights.is_dir()
    chosen = replace(settings("inception"), weights=tmp_path / "absent")
    with pytest.raises(UserError, match=r"params.yaml: reference.weights is .*absent, but there is no such folder"):
        bring_weights(chosen, download=False, elsewhere=tmp_path / "nowhere")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / INCEPTION).write_bytes(b"weights")
    bring_weights(chosen, download=False, elsewhere=tmp_path / "here")
    assert (chosen.weights / INCEPTION).read_bytes() == b"weights"
