"""What is read back of data/reference/: the same, or one line that says why not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.classifier import Classifier, Shape, save_classifier
from rediffuse.evaluation.reference import Reference, read_reference, write_features
from rediffuse.randomness import generator

CPU = torch.device("cpu")
COUNTS = {"train": 60, "val": 20, "test": 30}


@pytest.fixture(scope="module")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> ExtractorSettings:
    weights = tmp_path_factory.mktemp("weights")
    (weights / "own.py").write_text("def Ends():\n    return lambda images: images.flatten(1)[:, ::40].double()\n")
    return ExtractorSettings(
        seed=0,
        extractors=("pca", "random", "custom"),
        width=8,
        features=16,
        pca_dimensions=12,
        weights=weights,
        dinov2="",
        custom="own:Ends",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, digits, own_settings) -> tuple[Path, Reference]:
    folder = tmp_path_factory.mktemp("reference")
    network = Classifier(Shape.of((1, 8, 8), classes=10, base=8, features=16), generator(0, "test"))
    save_classifier(network, folder / "classifier.safetensors")
    images, labels = digits.train
    splits = {"train": images[:60], "val": images[60:80], "test": images[80:110]}
    return folder, write_features(folder, own_settings, splits, labels[80:110], CPU)


@pytest.fixture
def own(written: tuple[Path, Reference], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written[0], tmp_path / "reference"))


def test_what_is_read_is_what_was_written(written: tuple[Path, Reference], own_settings, digits) -> None:
    folder, wrote = written
    read = read_reference(folder, own_settings, COUNTS, CPU)
    assert [each.name for each in read.extractors] == ["pca", "random", "custom"]
    assert read.main.name == "pca"
    assert [each.digest for each in read.extractors] == [each.digest for each in wrote.extractors]
    # The judge's features are there, whether or not the scores read them.
    assert set(read.features) == set(read.extract(digits.test[0][:1])) == {"pca", "random", "custom", "classifier"}
    for name, features in read.features.items():
        for split, count in COUNTS.items():
            assert len(getattr(features, split)) == count
            assert np.array_equal(getattr(features, split), getattr(wrote.features[name], split))
    images = digits.train[0]
    assert np.array_equal(read.extract(images[60:80])["random"], read.features["random"].val)
    controls = read.features["pca"].controls
    assert set(controls) == {"noised", "blurred", "missing_class", "shuffled", "uniform"}
    assert not read.features["random"].controls
    # All training images, in another order.


def test_the_same_content_is_the_same_bytes(written: tuple[Path, Reference], own: Path, own_settings, digits) -> None:
    images, labels = digits.train
    splits = {"train": images[:60], "val": images[60:80], "test": images[80:110]}
    write_features(own, own_settings, splits, labels[80:110], CPU)
    for path in written[0].rglob("*.safetensors"):
        assert (own / path.relative_to(written[0])).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("file", ["classifier", "pca", "random", "features/classifier", "features/custom"])
@pytest.mark.parametrize("content", [None, b"\x00" * 40, b"", "foreign"])
def test_a_missing_or_foreign_file_is_a_users_error(content, file: str, own: Path, own_settings) -> None:
    path = own / f"{file}.safetensors"
    path.unlink()
    if content == "foreign":
        save_file({"train": np.zeros((60, 3), np.float32)}, path, {"format": "pt"})
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"safetensors .*run `dvc repro reference`"):
        read_reference(own, own_settings, COUNTS, CPU)


def respoil(path: Path, **changes: np.ndarray | None) -> None:
    """Write features back with other rows, under the description that they have."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        about = file.metadata()
    rows = {name: rows for name, rows in {**load_file(path), **changes}.items() if rows is not None}
    save_file(rows, path, about)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val": None}, "holds no features of val; run"),
        ({"test": np.zeros((31, 12), np.float32)}, r"test features of shape \(31, 12\), but there are 30"),
        ({"test": np.zeros(30, np.float32)}, r"test features of shape \(30,\)"),
    ],
)
def test_features_of_other_images_are_a_users_error(changes, message: str, own: Path, own_settings) -> None:
    respoil(own / "features" / "pca.safetensors", **changes)
    with pytest.raises(UserError, match=message):
        read_reference(own, own_settings, COUNTS, CPU)


def test_more_or_fewer_real_images_than_before_are_a_users_error(own: Path, own_settings) -> None:
    with pytest.raises(UserError, match=r"train features .* but there are 61 such images: the data has changed"):
        read_reference(own, own_settings, COUNTS | {"train": 61}, CPU)


def test_features_of_another_extractor_are_a_users_error(own: Path, own_settings) -> None:
    changed = r"holds features of another extractor \(.*its weights or parameters have changed; run"
    shutil.copyfile(own / "features" / "pca.safetensors", own / "features" / "random.safetensors")
    with pytest.raises(UserError, match=changed):
        read_reference(own, own_settings, COUNTS, CPU)
    with pytest.raises(UserError, match="holds no weights-inception"):
        read_reference(own, replace(own_settings, extractors=("pca", "inception")), COUNTS, CPU)
    with pytest.raises(UserError, match=r"features/custom\.safetensors holds no controls: it was not the first"):
        read_reference(own, replace(own_settings, extractors=("custom", "pca")), COUNTS, CPU)


def test_a_users_extractor_that_changed_since_is_a_users_error(own: Path, own_settings, tmp_path: Path) -> None:
    weights = Path(shutil.copytree(own_settings.weights, tmp_path / "weights"))
    moved = replace(own_settings, weights=weights)
    read_reference(own, moved, COUNTS, CPU)
    (weights / "own.py").write_text((weights / "own.py").read_text().replace("::40", "::20"))
    with pytest.raises(UserError, match=r"custom.safetensors holds features of another extractor"):
        read_reference(own, moved, COUNTS, CPU)


def test_the_metadata_is_one_key(written: tuple[Path, Reference]) -> None:
    from safetensors import safe_open

    with safe_open(written[0] / "features" / "pca.safetensors", "numpy") as file:
        assert list(file.metadata()) == ["features"]
        assert json.loads(file.metadata()["features"])["extractor"] == "pca"
