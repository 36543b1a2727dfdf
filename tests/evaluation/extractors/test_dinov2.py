"""DINOv2: timm's own numbers on images prepared as timm prepares them, and files of other networks."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.dinov2 import read_dinov2
from tests.evaluation.extractors.conftest import TINY_VIT, Settings

CPU = torch.device("cpu")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_timm(
    channels: int, suffix: str, settings: Settings, vit_weights: Path, pictures, tmp_path: Path
) -> None:
    chosen = settings("dinov2")
    if suffix == ".pth":
        torch.save(load_file(vit_weights), chosen.weights / f"{TINY_VIT}.pth")
    else:
        shutil.copyfile(vit_weights, chosen.weights / vit_weights.name)
    images = pictures[:5, :channels].repeat(20, axis=2).repeat(20, axis=3)[:, :, :160, :160]
    features = read_dinov2(chosen, tmp_path, CPU).extract(images)
    network = timm.create_model(TINY_VIT, num_classes=0, checkpoint_path=str(vit_weights)).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_data_config({"crop_pct": 1.0}, model=network))
    colour = np.repeat(images, 3 // channels, axis=1).transpose(0, 2, 3, 1)
    with torch.no_grad():
        # Images of the network's own size, which timm only normalises.
        expected = network(torch.stack([prepare(Image.fromarray(image)) for image in colour]))
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_images_are_resized_as_pillow_does_and_not_cut(settings: Settings, vit_weights: Path, tmp_path: Path) -> None:
    chosen = settings("dinov2")
    shutil.copyfile(vit_weights, chosen.weights / vit_weights.name)
    extractor = read_dinov2(chosen, tmp_path, CPU)
    image = np.random.default_rng(0).integers(80, 176, (1, 3, 37, 20), np.uint8)
    prepared = extractor.prepared(torch.from_numpy(image))[0]
    theirs = Image.fromarray(image[0].transpose(1, 2, 0)).resize((160, 160), Image.Resampling.BICUBIC)
    shown = prepared * torch.tensor(extractor.deviation)[:, None, None] + torch.tensor(extractor.mean)[:, None, None]
    # Pillow rounds to whole levels after each of its two passes.
    np.testing.assert_allclose(shown.permute(1, 2, 0).numpy() * 255, np.asarray(theirs), atol=2)


def test_a_network_for_518_pixels_sees_224(settings: Settings, tmp_path: Path) -> None:
    name = "vit_small_patch14_dinov2.lvd142m"
    chosen = settings("dinov2", dinov2=name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0)
    save_file(network.state_dict(), chosen.weights / f"{name}.safetensors")
    extractor = read_dinov2(chosen, tmp_path, CPU)
    assert (extractor.side, extractor.dimensions) == (224, 384)
    assert extractor.network.pos_embed.shape == (1, 16 * 16 + 1, 384)
    with torch.no_grad():
        assert extractor.network(torch.zeros(1, 3, 224, 224)).shape == (1, 384)


def test_other_weights_have_another_digest(settings: Settings, vit_weights: Path, tmp_path: Path) -> None:
    chosen = settings("dinov2")
    shutil.copyfile(vit_weights, chosen.weights / vit_weights.name)
    first = read_dinov2(chosen, tmp_path, CPU).digest
    save_file({name: value + 0.01 for name, value in load_file(vit_weights).items()}, chosen.weights / vit_weights.name)
    assert read_dinov2(chosen, tmp_path, CPU).digest != first


def test_weights_of_another_network_and_unknown_names_are_users_errors(settings: Settings, tmp_path: Path) -> None:
    chosen = settings("dinov2")
    for content in ({"weight": torch.zeros(2)}, None):
        path = chosen.weights / f"{TINY_VIT}.safetensors"
        save_file(content, path) if content else path.write_bytes(b"damaged")
        with pytest.raises(UserError, match=rf"does not fit reference.dinov2 {TINY_VIT}: "):
            read_dinov2(chosen, tmp_path, CPU)
    with pytest.raises(UserError, match=r"did you mean vit_small_patch14_dinov2\.lvd142m\?"):
        read_dinov2(replace(chosen, dinov2="vit_small_patch14_dinov2.lvd142"), tmp_path, CPU)


def test_weights_that_give_no_numbers_are_a_users_error(
    settings: Settings, vit_weights: Path, pictures, tmp_path: Path
) -> None:
    chosen, state = settings("dinov2"), load_file(vit_weights)
    state["patch_embed.proj.weight"].fill_(torch.nan)
    save_file(state, chosen.weights / vit_weights.name)
    with pytest.raises(UserError, match="dinov2 gives 2 of 2 images features that are not finite"):
        read_dinov2(chosen, tmp_path, CPU).extract(pictures[:2])
