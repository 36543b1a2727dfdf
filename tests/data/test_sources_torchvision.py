"""Data sets of torchvision, from files written here in the forms that torchvision reads."""

from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from rediffuse.data.sources.torchvision_set import _SETS
from tests.data.planted import decoded, encoded, idx_pair, image_file, opened, pixels, refusal

IMAGES = np.stack([pixels(i, 28, 28, channels=1) for i in range(5)])


def test_both_parts_of_a_set_of_arrays_come_as_png_with_its_own_class_names(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    idx_pair(raw, "train-", IMAGES[:3], [9, 0, 1])
    idx_pair(raw, "t10k-", IMAGES[3:], [1, 9])
    source = opened("torchvision", tmp_path, torchvision__name="FashionMNIST")
    rows = list(source)
    assert source.classes[9] == "Ankle boot"
    assert len(source.classes) == 10
    assert [(row.id, row.label, row.split) for row in rows] == [
        ("train-000000", 9, "train"),
        ("train-000001", 0, "train"),
        ("train-000002", 1, "train"),
        ("test-000000", 1, "test"),
        ("test-000001", 9, "test"),
    ]
    assert np.array_equal(np.stack([decoded(row.content) for row in rows]), IMAGES)
    assert rows[4].origin == "FashionMNIST (test)#1"
    assert source.about.origin == "torchvision.datasets.FashionMNIST"


def test_a_set_of_files_gives_the_files_themselves(tmp_path: Path) -> None:
    for name in ("Forest", "River"):
        folder = tmp_path / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        (folder / f"{name}_1.jpg").write_bytes(encoded(pixels(0), "JPEG"))
    source = opened("torchvision", tmp_path, torchvision__name="EuroSAT")
    assert source.classes == ("Forest", "River")
    file = tmp_path / "eurosat" / "2750" / "River" / "River_1.jpg"
    assert [(row.id, row.split) for row in source] == [("all-000000", None), ("all-000001", None)]
    assert list(source)[1].content == file.read_bytes()


@pytest.mark.parametrize(("kept", "label"), [(300, 1), (3, None)])
def test_a_damaged_image_is_counted_and_stops_nothing(tmp_path: Path, kept: int, label: int | None) -> None:
    folder = tmp_path / "caltech101"
    for empty in ("Annotations", "101_ObjectCategories/BACKGROUND_Google"):
        (folder / empty).mkdir(parents=True)
    for name in ("ant", "bass"):
        file = folder / "101_ObjectCategories" / name / "image_0001.jpg"
        file.parent.mkdir(parents=True)
        content = encoded(pixels(0, 28, 28), "JPEG")
        file.write_bytes(content if name == "ant" else content[: len(content) - 100 if kept == 300 else kept])
    rows = list(opened("torchvision", tmp_path, torchvision__name="Caltech101"))
    assert [(row.label, bool(row.content), row.fault) for row in rows] == [
        (0, True, ""),
        (label, False, "a damaged image"),
    ]


def test_what_is_missing_says_how_to_fetch_it(tmp_path: Path) -> None:
    for name in ("CIFAR10", "MNIST", "Flowers102", "Imagenette"):
        message = refusal("torchvision", tmp_path, torchvision__name=name)
        assert f"doesn't hold torchvision's {name}" in message
        assert "add -S prepare.torchvision.download=true" in message
    assert not list(tmp_path.iterdir())
    message = refusal("torchvision", tmp_path, torchvision__name="CIFAR11")
    assert "prepare.torchvision.name is 'CIFAR11'; allowed are CIFAR10, CIFAR100, Caltech101" in message


def test_a_fetch_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("<urlopen error no network>")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    message = refusal("torchvision", tmp_path, torchvision__name="CIFAR10", torchvision__download=True)
    assert message.endswith("doesn't hold torchvision's CIFAR10 (<urlopen error no network>)")


@pytest.mark.parametrize("name", _SETS)
def test_every_set_exists_and_takes_the_arguments_it_is_asked_with(name: str, tmp_path: Path) -> None:
    image_file(tmp_path / "x.png", 0)
    assert hasattr(datasets, name)
    message = refusal("torchvision", tmp_path / "x.png", torchvision__name=name)
    # Not that an argument is unknown, or that a part has another name.
    assert "argument" not in message
    assert "Unknown value" not in message
