"""What the stage `reference` leaves behind: the judge, the extractors, and their features of the real images.

Features of real images are computed once and read by every evaluation after, however many models are compared.

data/reference/ holds classifier.safetensors, what rebuilds the other extractors that are made from the data, and of
each extractor features/<name>.safetensors: train, val, test, and of the first one control/<name>.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.control_images import control_images
from rediffuse.evaluation.extractors import Extractor, ExtractorSettings, Features, Images, Labels
from rediffuse.evaluation.extractors.classifier import Classifier
from rediffuse.evaluation.extractors.convolutional import ConvolutionalExtractor, read_trained
from rediffuse.evaluation.extractors.registry import EXTRACTORS
from rediffuse.params import ReferenceParams
from rediffuse.workspace import Workspace

JUDGE = "classifier"
_SPLITS = ("train", "val", "test")
_AGAIN = "run `dvc repro reference`"


@dataclass(frozen=True)
class RealFeatures:
    """One extractor's features of the real images, each (n, d).

    Args:
        train, val, test: in the order of the split.
        controls: of the first extractor alone, by name: of the images of `control_images`.
    """

    train: Features
    val: Features
    test: Features
    controls: dict[str, Features] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The judge, the extractors, and what they say of the real images.

    Args:
        judge: the classifier that was trained on the real training split; without classes, with random weights.
        extractors: as `reference.extractors` lists them; the first gives the main scores.
        features: by the name of each extractor, and of the judge, who is among them or not.
    """

    judge: ConvolutionalExtractor
    extractors: tuple[Extractor, ...]
    features: dict[str, RealFeatures]

    @property
    def classifier(self) -> Classifier:
        """The judge's network."""
        return self.judge.network

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the judge's file."""
        return self.judge.digest

    @property
    def main(self) -> Extractor:
        """The extractor of the main scores."""
        return self.extractors[0]

    def extract(self, images: Images) -> dict[str, Features]:
        """The features of images (N, C, H, W) by the name of each extractor, and of the judge."""
        return {each.name: each.extract(images) for each in _with_judge(self.judge, self.extractors)}


def write_features(
    folder: Path,
    settings: ExtractorSettings,
    splits: Mapping[str, Images],
    test_labels: Labels | None,
    device: torch.device,
) -> Reference:
    """Make the extractors that are made from the data, and write the features of all.

    Args:
        folder: data/reference/, which holds the trained classifier already; each file is written by replace.
        splits: the real images: train, val, test.
        test_labels: of the images in test; None: the data has no classes.

    Raises:
        UserError: an extractor can't be made or read, or gives no features.
    """
    for name in settings.extractors:
        make = EXTRACTORS[name].make
        if make is not None:
            make(settings, folder, splits["train"], device)
    judge, extractors = _read_extractors(folder, settings, device)
    found = {}
    for extractor in _with_judge(judge, extractors):
        rows: dict[str, NDArray[np.generic]] = {name: extractor.extract(splits[name]) for name in _SPLITS}
        if extractor is extractors[0]:
            for name, images in control_images(splits["test"], test_labels, settings.seed):
                rows[f"control/{name}"] = extractor.extract(images)
        about = {"features": json.dumps({"digest": extractor.digest, "extractor": extractor.name}, sort_keys=True)}
        with files.replacing(_features_file(folder, extractor.name)) as temporary:
            save_file(rows, temporary, about)
        found[extractor.name] = _as_features(rows)
    return Reference(judge, extractors, found)


def reference_of(
    workspace: Workspace, section: ReferenceParams, seed: int, counts: Mapping[str, int], device: torch.device
) -> Reference:
    """What the stage `reference` wrote by its section of params.yaml; see `read_reference`."""
    settings = ExtractorSettings.of(section, seed=seed, root=workspace.root)
    return read_reference(workspace.reference, settings, counts, device)


def read_reference(
    folder: Path, settings: ExtractorSettings, counts: Mapping[str, int], device: torch.device
) -> Reference:
    """What the stage `reference` wrote.

    Args:
        settings: those that it ran with.
        counts: how many images each of train, val and test holds.

    Raises:
        UserError: a file is missing, holds something else, or was made of other images or by another extractor.
    """
    judge, extractors = _read_extractors(folder, settings, device)
    features = {each.name: _read_features(folder, each, counts) for each in _with_judge(judge, extractors)}
    if not features[extractors[0].name].controls:
        path = _features_file(folder, extractors[0].name)
        raise UserError(f"{path} holds no controls: it was not the first of reference.extractors then; {_AGAIN}")
    return Reference(judge, extractors, features)


def _read_extractors(
    folder: Path, settings: ExtractorSettings, device: torch.device
) -> tuple[ConvolutionalExtractor, tuple[Extractor, ...]]:
    judge = read_trained(settings, folder, device)
    return judge, tuple(
        judge if name == JUDGE else EXTRACTORS[name].read(settings, folder, device) for name in settings.extractors
    )


def _with_judge(judge: ConvolutionalExtractor, extractors: tuple[Extractor, ...]) -> Iterator[Extractor]:
    yield from extractors
    if not any(each is judge for each in extractors):
        yield judge


def _features_file(folder: Path, name: str) -> Path:
    return folder / "features" / f"{name}.safetensors"


def _read_features(folder: Path, extractor: Extractor, counts: Mapping[str, int]) -> RealFeatures:
    path = _features_file(folder, extractor.name)
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["features"])
            rows = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        maker, digest = about["extractor"], about["digest"]
        missing = set(_SPLITS) - rows.keys()
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no features of the stage reference: {error}; {_AGAIN}") from None
    if missing:
        raise UserError(f"{path} holds no features of {', '.join(sorted(missing))}; {_AGAIN}")
    if maker != extractor.name or digest != extractor.digest:
        raise UserError(
            f"{path} holds features of another extractor ({maker} {str(digest)[:12]}, and not {extractor.name} "
            f"{extractor.digest[:12]}): its weights or parameters have changed; {_AGAIN}"
        )
    for name in _SPLITS:
        if rows[name].ndim != 2 or len(rows[name]) != counts[name]:
            raise UserError(
                f"{path} holds {name} features of shape {rows[name].shape}, but there are {counts[name]} "
                f"such images: the data has changed; {_AGAIN}"
            )
    return _as_features(rows)


def _as_features(rows: Mapping[str, NDArray[np.generic]]) -> RealFeatures:
    train, val, test = (np.asarray(rows[name], np.float32) for name in _SPLITS)
    controls = {
        name.removeprefix("control/"): np.asarray(values, np.float32)
        for name, values in rows.items()
        if name.startswith("control/")
    }
    return RealFeatures(train, val, test, controls)
