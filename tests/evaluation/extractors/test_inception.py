"""Inception: torch-fidelity's own numbers, and files that hold something else."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.inception import read_inception
from rediffuse.evaluation.extractors.weights import INCEPTION
from tests.evaluation.extractors.conftest import Settings

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_features_are_those_of_torch_fidelity(
    channels: int, settings: Settings, inception_weights: Path, pictures, tmp_path: Path
) -> None:
    from torch_fidelity.utils import create_feature_extractor

    chosen = settings("inception")
    shutil.copyfile(inception_weights, chosen.weights / INCEPTION)
    images = pictures[:2, :channels]
    features = read_inception(chosen, tmp_path, CPU).extract(images)
    theirs = create_feature_extractor(
        "inception-v3-compat",
        ["2048"],
        cuda=False,
        feature_extractor_weights_path=str(inception_weights),
        feature_extractor_internal_dtype="float32",
        feature_extractor_compile=False,
        verbose=False,
    )
    colour = torch.from_numpy(np.repeat(images, 3 // channels, axis=1))
    np.testing.assert_allclose(features, theirs(colour)[0].numpy(), atol=1e-5, rtol=1e-5)


def test_other_weights_have_another_digest(settings: Settings, inception_weights: Path, tmp_path: Path) -> None:
    chosen = settings("inception")
    path = chosen.weights / INCEPTION
    shutil.copyfile(inception_weights, path)
    first = read_inception(chosen, tmp_path, CPU).digest
    state = torch.load(path, weights_only=True)
    state["Conv2d_1a_3x3.conv.weight"][0, 0, 0, 0] += 1
    torch.save(state, path)
    assert read_inception(chosen, tmp_path, CPU).digest != first


class Planted:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_files_that_hold_something_else_are_users_errors_and_nothing_in_them_runs(
    settings: Settings, tmp_path: Path
) -> None:
    chosen = settings("inception")
    path = chosen.weights / INCEPTION
    for content in (b"", b"\x80\x02garbage"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="holds no InceptionV3 weights of torch-fidelity"):
            read_inception(chosen, tmp_path, CPU)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"holds no InceptionV3 weights of torch-fidelity: .*Missing key"):
        read_inception(chosen, tmp_path, CPU)
    torch.save(Planted(tmp_path / "planted"), path)
    with pytest.raises(UserError, match="holds no InceptionV3 weights of torch-fidelity"):
        read_inception(chosen, tmp_path, CPU)
    assert not (tmp_path / "planted").exists()
