"""A user's own extractor: TorchScript, an exported program, a class; each mistake in one line."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.batches import LARGE_BATCH
from rediffuse.evaluation.extractors.custom import read_custom
from tests.evaluation.extractors.conftest import Settings

CPU = torch.device("cpu")


class Projection(nn.Module):
    """Two sums of the pixels."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, value, 2 * 3 * 12 * 12).reshape(-1, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().flatten(1) @ self.weight


def torchscript(path: Path, network: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(network, torch.zeros(2, 3, 12, 12, dtype=torch.uint8)), path)


def exported(path: Path, network: nn.Module) -> None:
    example = torch.zeros(LARGE_BATCH, 3, 12, 12, dtype=torch.uint8)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), path)


@pytest.mark.parametrize(("name", "save"), [("net.pt", torchscript), ("net.pt2", exported)])
def test_a_file_gives_the_networks_own_features_without_a_warning(
    name: str, save, settings: Settings, pictures, tmp_path: Path
) -> None:
    chosen, network = settings("custom", custom=name), Projection()
    save(chosen.weights / name, network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor = read_custom(chosen, tmp_path, CPU)
        features = extractor.extract(pictures)
    with torch.no_grad():
        np.testing.assert_allclose(features, network(torch.from_numpy(pictures)).numpy(), rtol=1e-5)
    save(chosen.weights / name, Projection(2.0))
    assert read_custom(chosen, tmp_path, CPU).digest != extractor.digest


CLASS = """
from pathlib import Path
import torch
from own_numbers import FACTOR

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = float((Path(__file__).parent / "factor.txt").read_text()) * FACTOR
    def forward(self, images):
        return images.double().flatten(2).mean(dim=2) * self.factor

class NoTensor:
    def __call__(self, images): return images.numpy()
class Flat:
    def __call__(self, images): return images.float().mean(dim=(1, 2, 3))
class Whole:
    def __call__(self, images): return images.flatten(1)
class Fails:
    def __call__(self, images): raise ZeroDivisionError("by nothing")
class Infinite:
    def __call__(self, images): return images.flatten(1)[:, :2].float().log()
class NeedsMore:
    def __init__(self, path): pass
class NoFunction:
    pass
"""


@pytest.fixture
def own(settings: Settings) -> ExtractorSettings:
    """A folder of weights with a module of the user's, another that it imports, and a file that it reads."""
    made = settings("custom", custom="own_network:Network")
    weights = made.weights
    (weights / "own_network.py").write_text(CLASS)
    (weights / "own_numbers.py").write_text("FACTOR = 3\n")
    (weights / "factor.txt").write_text("2.0")
    return made


def test_a_class_gives_its_features_and_whatever_it_reads_is_in_the_digest(
    own: ExtractorSettings, pictures, tmp_path: Path
) -> None:
    extractor = read_custom(own, tmp_path, CPU)
    expected = pictures.reshape(20, 3, -1).mean(axis=2) * 6
    np.testing.assert_allclose(extractor.extract(pictures), expected, rtol=1e-6)
    digests = {extractor.digest}
    for file, content in (("factor.txt", "3.0"), ("own_numbers.py", "FACTOR = 5\n"), ("own_network.py", CLASS + "\n")):
        (own.weights / file).write_text(content)
        digests.add(read_custom(own, tmp_path, CPU).digest)
    assert len(digests) == 4
    np.testing.assert_allclose(read_custom(own, tmp_path, CPU).extract(pictures), expected / 6 * 15, rtol=1e-6)


def test_a_class_on_the_python_path_serves_too(settings: Settings, pictures, tmp_path: Path) -> None:
    chosen = settings("custom", custom="tests.evaluation.extractors.test_custom:Projection")
    extractor = read_custom(chosen, tmp_path, CPU)
    assert extractor.extract(pictures).shape == (20, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("own_network:NoTensor", "gives ndarray, not a tensor; it must take uint8 images"),
        ("own_network:Flat", r"gives torch.float32 \(16,\); it must take uint8 images"),
        ("own_network:Whole", r"gives torch.uint8 \(16, 432\); it must"),
        ("own_network:Fails", r"fails on images of \(16, 3, 12, 12\): ZeroDivisionError: by nothing; it must"),
        ("own_network:Infinite", "images features that are not finite; it must give numbers"),
        ("own_network:NeedsMore", r"NeedsMore\(\) fails: TypeError: .*it is called without arguments"),
        ("own_network:NoFunction", r"NoFunction\(\) can't be called"),
        ("own_network:Absent", "own_network has no class Absent"),
        ("absent:Network", "the module can't be imported from .*No module named 'absent'"),
        ("absent.pt", "holds no such file; put it there, or use module:Class"),
        ("../absent.pt", "must be a file in reference.weights"),
        ("damaged.pt", "is neither a TorchScript file nor an exported program"),
        ("archive.pt", "torch can't load: .*torch.jit.save"),
        ("archive.pt2", "torch can't load: "),
    ],
)
def test_each_mistake_is_one_line(given: str, message: str, own: ExtractorSettings, pictures, tmp_path: Path) -> None:
    (own.weights / "damaged.pt").write_bytes(b"damaged")
    for name in ("archive.pt", "archive.pt2"):
        torch.save({"weight": torch.zeros(2)}, own.weights / name)
    with pytest.raises(UserError, match=message) as caught:
        read_custom(replace(own, custom=given), tmp_path, CPU).extract(np.zeros_like(pictures))
    assert "reference.custom" in str(caught.value)
    assert "\n" not in str(caught.value)
