"""Whatever the extractor: an image's features are its own, and what is saved is what comes back."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse.evaluation.extractors import ExtractorSettings, convolutional
from rediffuse.evaluation.extractors.classifier import Classifier, Shape, save_classifier
from rediffuse.evaluation.extractors.registry import EXTRACTORS
from rediffuse.randomness import generator
from tests.evaluation.extractors.conftest import Settings

CPU = torch.device("cpu")

CODE = """
import torch

class Mean:
    def __call__(self, images):
        x = images.double()
        return torch.stack([x.mean(dim=(1, 2, 3)), x.std(dim=(1, 2, 3))], dim=1)
"""


@pytest.fixture
def every(settings: Settings, inception_weights: Path, vit_weights: Path) -> ExtractorSettings:
    """Settings with a file for each extractor."""
    made = settings(*EXTRACTORS, custom="mean:Mean")
    for path in (inception_weights, vit_weights):
        shutil.copyfile(path, made.weights / path.name)
    (made.weights / "mean.py").write_text(CODE)
    return made


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "inception" else name for name in EXTRACTORS]
)
def test_an_images_features_are_its_own_to_the_bit(name, every, pictures, tmp_path) -> None:
    """Neither the number of images, nor their order, nor what stands beside them."""
    kind = EXTRACTORS[name]
    if name == "classifier":
        save_classifier(
            Classifier(Shape.of((3, 12, 12), classes=4, base=8, features=16), generator(0, "test")),
            tmp_path / "classifier.safetensors",
        )
    if kind.make is not None:
        kind.make(every, tmp_path, pictures, CPU)
    extractor = kind.read(every, tmp_path, CPU)
    assert extractor.name == name
    assert len(extractor.digest) == 64
    # Two batches of all networks but the large one, which takes seconds for one.
    images = pictures[:6] if name == "inception" else pictures
    features = extractor.extract(images)
    assert features.dtype == np.float32
    assert len(features) == len(np.unique(features, axis=0)) == len(images)
    order = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(extractor.extract(images[order]), features[order])
    assert np.array_equal(extractor.extract(images[:3]), features[:3])
    assert extractor.extract(images[:0]).shape == (0, features.shape[1])
    again = kind.read(every, tmp_path, CPU)
    assert again.digest == extractor.digest
    assert np.array_equal(again.extract(images[:3]), features[:3])


def test_the_order_of_the_images_that_scale_random_convolutions_changes_no_byte(
    settings: Settings, pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutional, "_CALIBRATED_ON", 7)
    made = []
    for images in (pictures, pictures[::-1]):
        convolutional.make_random(settings("random"), tmp_path, images, CPU)
        made.append((tmp_path / "random.safetensors").read_bytes())
    assert made[0] == made[1]


def test_random_convolutions_are_drawn_by_key_and_not_those_of_an_unlabelled_classifier(
    settings: Settings, pictures, tmp_path: Path
) -> None:
    from rediffuse.evaluation.utility.recipe import Recipe, train_classifier

    kind, narrow, made = EXTRACTORS["random"], settings("random"), []
    for run, chosen in enumerate([narrow, narrow, replace(narrow, width=16), replace(narrow, seed=1)]):
        (tmp_path / str(run)).mkdir()
        kind.make(chosen, tmp_path / str(run), pictures, CPU)
        made.append(kind.read(chosen, tmp_path / str(run), CPU).digest)
    assert made[0] == made[1]
    assert len(set(made)) == 3
    random = kind.read(narrow, tmp_path / "0", CPU)
    assert (random.extract(pictures).astype(np.float64) ** 2).mean() == pytest.approx(1, rel=1e-4)
    unlabelled = train_classifier(
        pictures,
        np.full(len(pictures), -1),
        shape=Shape.of((3, 12, 12), classes=0, base=8, features=16),
        recipe=Recipe(steps=1, batch_size=2, lr=0.1),
        seed=0,
        stream="reference",
        device=CPU,
    )
    assert not torch.equal(unlabelled.project.weight, random.network.project.weight)
