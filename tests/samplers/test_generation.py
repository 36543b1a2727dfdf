"""Image i is a function of (seed, i) and the model alone."""

import pytest
import torch

from rediffuse.diffusion import Edm, NetworkDenoiser
from rediffuse.networks import Unet
from rediffuse.randomness import generator, seeded_global
from rediffuse.samplers import GRIDS, SamplerSettings, build_sampler, generate, to_uint8

PROCESS = Edm()


@pytest.fixture(scope="module")
def denoiser() -> NetworkDenoiser:
    with seeded_global(0, "test"):
        network = Unet((1, 8, 8), 3, width=16, head_channels=8, groups=4).eval()
    draw = generator(1, "awake")
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    return NetworkDenoiser(network, PROCESS, "edm", 0.7)


def images(denoiser, count: int, *, sampler: str = "ddim", eta: float = 1.0, seed: int = 0, batch_size: int = 8):
    batches = generate(
        denoiser,
        PROCESS,
        build_sampler(sampler, SamplerSettings(eta=eta)),
        GRIDS["karras"](PROCESS, 4),
        shape=(1, 8, 8),
        labels=[i % 3 for i in range(count)],
        count=count,
        seed=seed,
        batch_size=batch_size,
        device=torch.device("cpu"),
    )
    return torch.cat(list(batches))


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_an_image_does_not_depend_on_how_many_are_asked_for(denoiser, count: int):
    assert torch.equal(images(denoiser, count), images(denoiser, 19)[:count])


@pytest.mark.parametrize("batch_size", [1, 5])
def test_an_image_has_noise_of_its_own_wherever_it_stands_in_a_batch(denoiser, batch_size: int):
    # Batches of another size round otherwise, so that a pixel may be one level off.
    eights, others = images(denoiser, 19).int(), images(denoiser, 19, batch_size=batch_size).int()
    assert (eights - others).abs().max() <= 1
    assert (eights[:1] - eights[1:]).abs().amax((1, 2, 3)).min() > 20


def test_another_seed_gives_other_images_and_the_same_seed_the_same(denoiser):
    first = images(denoiser, 4)
    assert torch.equal(images(denoiser, 4), first)
    assert not torch.equal(images(denoiser, 4, seed=1), first)
    assert len({image.numpy().tobytes() for image in images(denoiser, 19)}) == 19


def test_sampling_leaves_the_global_generator_alone(denoiser):
    before = torch.random.get_rng_state()
    images(denoiser, 2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_pixels_are_rounded_not_truncated():
    x = torch.tensor([-1.2, -1.0, 0.0, 1.0, 1.3, 2 * 99.6 / 255 - 1])
    assert to_uint8(x).tolist() == [0, 0, 128, 255, 255, 100]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every)
