"""The library part stands on torch alone."""

import subprocess
import sys

# Everything that `pip install torch` does not bring.
ABSENT = (
    "dvc",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "PIL",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "sklearn",
    "torchvision",
    "tqdm",
    "yaml",
)

SAMPLE = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))
import torch
from rediffuse.diffusion import Edm, NetworkDenoiser
from rediffuse.likelihood import AdaptiveSolver, log_density, rademacher
from rediffuse.networks import Condition, Unet
from rediffuse.samplers import GRIDS, Heun, generate

process = Edm()
denoiser = NetworkDenoiser(Unet((3, 8, 8), classes=10).eval(), process, prediction="edm", sigma_data=0.5)
(images,) = generate(
    denoiser, process, Heun(), GRIDS["karras"](process, 3),
    shape=(3, 8, 8), labels=[0, 1, 2], count=3, seed=0, batch_size=4, device=torch.device("cpu"),
)
assert images.shape == (3, 3, 8, 8)
condition = Condition(labels=torch.tensor([0, 1, 2]))
probe = rademacher((3, 8, 8), 0, range(3))
assert log_density(denoiser, process, images / 127.5 - 1, condition, AdaptiveSolver(0.1), probe).shape == (3,)
print("sampled")
"""


def test_networks_diffusion_samplers_and_likelihood_work_with_torch_alone():
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE.format(absent=ABSENT)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "sampled\n", done.stderr
