"""denoising-diffusion-pytorch: its Unet, GaussianDiffusion and Trainer, which know no classes, as its README uses them.

The Trainer itself is driven, with its folder of image files replaced by a dataset in memory, which needs neither
worker processes nor a smaller last batch; no image is mirrored. The README's values: dim_mults (1, 2, 4, 8) with
dim 64, flash attention, learning rate 8e-5, EMA 0.995, mixed precision (fp16 on CUDA), DDIM with 250 of 1000 steps. Its
gradient_accumulate_every 2 is a way to a larger batch; here the batch is the task's.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.contenders import Task
from benchmarks.contenders.framing import Frame, drawn, levels
from benchmarks.contenders.planning import finish
from benchmarks.contenders.sizes import flops, nearest_width, weights

try:
    from denoising_diffusion_pytorch import denoising_diffusion_pytorch as library
except ImportError as error:
    raise ImportError(f"{error}: pip install 'rediffuse[benchmarks]' brings denoising-diffusion-pytorch") from None

DIM, DIM_MULTS = 64, (1, 2, 4, 8)
LR = 8e-5
STEPS = 1000


class _Pixels(Dataset[Tensor]):
    """Images on [0, 1], as the Trainer's own dataset gives them."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = torch.from_numpy(images).float() / 255

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index]


class Lucidrains:
    """See `Contender`; the labels that its images are asked for change nothing.

    Args:
        task: what to train on; at least 100 images, in batches of at least 16.
        lr: of Adam.
        evaluations: steps of DDIM.
    """

    name = "denoising-diffusion-pytorch"

    def __init__(self, task: Task, lr: float = LR, evaluations: int = 250) -> None:
        self.task = task
        self.evaluations = evaluations
        self._frame = Frame(cast(tuple[int, int, int], task.images.shape[1:]), multiple=4)
        self._levels = levels(min(self._frame.framed[1:]), len(DIM_MULTS))
        width = DIM
        if task.parameters:
            # 4 is the least that its time encoding takes.
            width = nearest_width(self._built, task.parameters, range(4, 4096, 4))
        self._width = width
        torch.manual_seed(task.seed)
        diffusion = library.GaussianDiffusion(
            self._built(width),
            image_size=self._frame.framed[1:],
            timesteps=STEPS,
            sampling_timesteps=evaluations,
        ).to(task.device)
        cuda = task.device.type == "cuda"
        with _in_memory(task):
            self._trainer = library.Trainer(
                diffusion,
                _Pixels(self._frame.put_on(task.images)),
                train_batch_size=task.batch_size,
                train_lr=lr,
                train_num_steps=0,
                ema_decay=0.995,
                amp=cuda,
                calculate_fid=False,
                save_and_sample_every=1 << 60,
                results_folder=tempfile.gettempdir(),
            )
        self.parameters = weights(diffusion)
        self.setting = (
            f"without classes: Unet {width} × {DIM_MULTS[: self._levels]} with flash attention, "
            f"{'fp16' if cuda else 'fp32'}, its Trainer (Adam {lr:g}, EMA 0.995), v, DDIM, {evaluations} evaluations"
        )

    def train(self, steps: int) -> None:
        """See `Contender`."""
        self._trainer.train_num_steps = self._trainer.step + steps
        with _quiet():
            self._trainer.train()
        finish(self.task.device)

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """See `Contender`."""
        self._trainer.ema.ema_model.eval()
        with _quiet():
            return self._frame.take_off(drawn(labels, seed, self.task.device, self._draw))

    def flops(self) -> float:
        """See `Contender`."""

        def forward(network: nn.Module) -> object:
            return network(torch.zeros(1, *self._frame.framed), torch.zeros(1))

        return flops(lambda: self._built(self._width), forward)

    def _built(self, width: int) -> nn.Module:
        network: nn.Module = library.Unet(
            dim=width, dim_mults=DIM_MULTS[: self._levels], channels=self._frame.framed[0], flash_attn=True
        )
        return network

    def _draw(self, labels: np.ndarray) -> Tensor:
        # On CUDA its flash attention takes half precision alone, and its averaged model is not wrapped for it.
        with self._trainer.accelerator.autocast():
            images: Tensor = self._trainer.ema.ema_model.sample(batch_size=len(labels))
        return images


@contextmanager
def _in_memory(task: Task) -> Iterator[None]:
    """The library with a Trainer that takes a dataset for a folder, on the task's device."""
    whole = len(task.images) >= task.batch_size

    def loader(dataset: Dataset[Any], **settings: Any) -> "DataLoader[Any]":
        # Pinned memory without a GPU is only a warning.
        pinned = task.device.type == "cuda"
        return DataLoader(dataset, **settings | {"num_workers": 0, "drop_last": whole, "pin_memory": pinned})

    with ExitStack() as stack:
        for name, value in {
            "Dataset": lambda folder, *_, **__: folder,
            "DataLoader": loader,
            "Accelerator": partial(library.Accelerator, cpu=task.device.type == "cpu"),
        }.items():
            stack.enter_context(mock.patch.object(library, name, value))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """The library without its progress bars and its "training complete"."""
    bar = library.tqdm

    def hidden(*given: Any, **settings: Any) -> Any:
        return bar(*given, **settings | {"disable": True})

    with mock.patch.object(library, "tqdm", hidden), redirect_stdout(StringIO()):
        yield


def build(task: Task) -> Lucidrains:
    """As documented."""
    return Lucidrains(task)
