"""A denoiser that has learned images by heart: the best there is for them, in closed form."""

import torch
from torch import Tensor

from rediffuse.diffusion import Edm, LogNormal
from rediffuse.evaluation.extractors.classifier import Images
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.networks import Condition

PROCESS = Edm()


class Learned:
    """E[x0 | x_t] where x0 is one of these images, each as probable (Karras et al., 2022, eq. 57)."""

    def __init__(self, images: Images) -> None:
        self.images = torch.from_numpy(images).double().flatten(1) / 127.5 - 1

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        at = PROCESS.at(t.double())
        squared = torch.cdist(x_t.double().flatten(1) / at.alpha[:, None], self.images) ** 2
        weights = torch.softmax(-squared / (2 * at.noise_to_signal[:, None] ** 2), dim=1)
        return (weights @ self.images).reshape(x_t.shape).to(x_t.dtype)


def attacked(images: Images) -> Attacked:
    """A model that has learned these images, as the attack sees it."""
    return Attacked(
        denoiser=Learned(images),
        process=PROCESS,
        noise_levels=LogNormal(PROCESS),
        labelled=False,
        device=torch.device("cpu"),
    )
