"""What every sampler keeps to, whatever it computes: grids, fresh noise, and images that do not know of each other."""

import pytest
import torch
from torch import Tensor

from rediffuse.diffusion import Cosine, Ddpm, Edm, Process, Ve, Vp
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers import GRIDS, SAMPLERS, SamplerSettings, build_sampler
from tests.diffusion.analytic import MixtureDenoiser
from tests.diffusion.families import PROCESSES

CASES = [(name, SamplerSettings()) for name in SAMPLERS] + [
    ("reverse_diffusion", SamplerSettings(corrector_steps=2)),
    ("ancestral", SamplerSettings(variance="process")),
    ("ddim", SamplerSettings(eta=0.7)),
    ("heun", SamplerSettings(churn=5.0)),
    ("euler_maruyama", SamplerSettings(eta=1.0)),
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_an_image_does_not_depend_on_its_batch_mates(name: str, settings: SamplerSettings):
    process = Edm()
    denoiser = MixtureDenoiser(process, (-0.8, 0.8), 0.2)

    def last_of(mates: int) -> Tensor:
        keys = [0, 1, mates, mates + 1]
        draws = [generator(0, "image", key) for key in keys]

        def noise() -> Tensor:
            return torch.stack([torch.randn(1, 2, 2, generator=each, dtype=torch.float64) for each in draws])

        x = 80.0 * noise() * torch.tensor([1, 1, 1 + mates, 1])[:, None, None, None]
        *_, last = build_sampler(name, settings)(denoiser, process, GRIDS["karras"](process, 6), x, Condition(), noise)
        return last.x

    first, second = last_of(2), last_of(100)
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])


def test_a_corrector_needs_steps_that_stand_alone():
    with pytest.raises(ValueError, match="heun can't be corrected"):
        build_sampler("heun", SamplerSettings(corrector_steps=1))


def test_karras_grid_is_the_published_one():
    times = GRIDS["karras"](Edm(), 18)
    i = torch.arange(18, dtype=torch.float64)
    published = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(times[:-1], published)
    assert times[-1] == 0


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_a_grid_goes_down_from_the_prior_to_the_data(name: str, process: Process, steps: int):
    if name == "discrete" and process.ladder() is None:
        with pytest.raises(ValueError, match="a process that has no steps of its own"):
            GRIDS[name](process, steps)
        return
    times = GRIDS[name](process, steps)
    assert len(times) == steps + 1
    assert float(times[0]) == pytest.approx(process.t_max)
    assert float(times[-1]) == 0
    assert (times.diff() < 0).all()


def test_discrete_and_trailing_grids_are_the_papers():
    assert GRIDS["discrete"](Ddpm(steps=10), 10).tolist() == list(range(10, -1, -1))
    # Nichol & Dhariwal (2021): the first and the last step, and evenly chosen ones between.
    assert GRIDS["discrete"](Ddpm(), 4).tolist() == [1000, 667, 334, 1, 0]
    # Lin et al. (2024), table 2.
    assert GRIDS["trailing"](Ddpm(), 4).tolist() == [1000, 750, 500, 250, 0]
    with pytest.raises(ValueError, match="11 steps of a process that has 10 steps"):
        GRIDS["discrete"](Ddpm(steps=10), 11)


@pytest.mark.parametrize("process", [Vp(), Cosine(), Ve(), Edm()], ids=str)
def test_uniform_log_snr_is_even(process: Process):
    steps = process.at(GRIDS["uniform_log_snr"](process, 30)[:-1]).log_snr.diff()
    torch.testing.assert_close(steps, steps[:1].expand(29), rtol=1e-6, atol=0)
