"""PCA: scikit-learn's directions, one sign and one scale, and images that span little."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.pca import SIDE, fit, make_pca, read_pca
from tests.evaluation.extractors.conftest import Settings

CPU = torch.device("cpu")


def made(settings: Settings, folder: Path, images: np.ndarray, dimensions: int = 12):
    chosen = settings("pca", pca_dimensions=dimensions)
    make_pca(chosen, folder, images, CPU)
    return read_pca(chosen, folder, CPU)


def test_features_are_scikit_learns_up_to_sign_and_one_scale(settings: Settings, digits, tmp_path: Path) -> None:
    train, test = digits.train[0], digits.test[0]
    features = made(settings, tmp_path, train).extract(test).astype(np.float64)
    theirs = PCA(12, svd_solver="full").fit(train.reshape(len(train), -1) / 127.5 - 1)
    expected = theirs.transform(test.reshape(len(test), -1) / 127.5 - 1)
    expected /= np.sqrt((theirs.transform(train.reshape(len(train), -1) / 127.5 - 1) ** 2).mean())
    signs = np.sign((features * expected).sum(axis=0))
    np.testing.assert_allclose(features, expected * signs, atol=1e-5)


def test_features_have_unit_mean_square_on_the_training_images(settings: Settings, digits, tmp_path: Path) -> None:
    features = made(settings, tmp_path, digits.train[0]).extract(digits.train[0]).astype(np.float64)
    assert (features**2).mean() == pytest.approx(1, rel=1e-6)


def test_the_order_of_the_training_images_changes_no_bit_and_every_axis_has_its_sign(digits) -> None:
    images = digits.train[0]
    mean, axes = fit(images, 20)
    other_mean, other_axes = fit(images[::-1], 20)
    assert (mean.tobytes(), axes.tobytes()) == (other_mean.tobytes(), other_axes.tobytes())
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(20)] > 0).all()


@pytest.mark.parametrize(("count", "kept"), [(2, 2), (7, 6), (40, 30)])
def test_fewer_images_than_dimensions_keep_the_directions_they_span(
    count: int, kept: int, settings: Settings, digits, tmp_path: Path
) -> None:
    """Of digits many pixels are black in all images, and two images span one direction: a covariance needs two."""
    features = made(settings, tmp_path, digits.train[0][:count], 30).extract(digits.test[0])
    assert features.shape == (400, kept)
    assert np.isfinite(features).all()


def test_large_images_are_averaged_and_keep_what_is_smooth(settings: Settings, tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (30, 1, SIDE, SIDE), np.uint8)
    large = small.repeat(2, axis=2).repeat(2, axis=3)
    (tmp_path / "large").mkdir()
    found = made(settings, tmp_path / "large", large).extract(large)
    np.testing.assert_allclose(found, made(settings, tmp_path, small).extract(small), atol=1e-6)


def test_images_that_are_all_alike_are_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all training images are alike"):
        made(settings, tmp_path, np.full((5, 1, 8, 8), 7, np.uint8))


@pytest.mark.parametrize("content", [None, b"", b"no safetensors"])
def test_a_file_without_axes_is_a_users_error(content: bytes | None, settings: Settings, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "pca.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"pca.safetensors holds no principal axes: .*run `dvc repro reference`"):
        read_pca(settings("pca"), tmp_path, CPU)
