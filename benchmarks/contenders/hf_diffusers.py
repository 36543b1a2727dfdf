"""diffusers: its UNet2DModel and the loop of its own example of unconditional training, with labels.

The loop and its constants are those of examples/unconditional_image_generation/train_unconditional.py: AdamW at 1e-4,
500 steps of warm-up and then a cosine, gradients clipped at 1, EMAModel with its warm-up (power 3/4) to 0.9999, through
accelerate, with fp16 on CUDA as its training tutorial has it. The network has the shape of google/ddpm-cifar10-32, the
library's published model for small images: channels (1, 2, 2, 2) × width, two layers, attention on the second level.
Samples are DDIMPipeline's: DDIM with 50 steps. The example's mirrored images are left out: no data here asks for them.
"""

from math import gcd
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders import Task
from benchmarks.contenders.framing import Frame, drawn, levels
from benchmarks.contenders.planning import UNLIMITED, endless, finish, steps_within
from benchmarks.contenders.sizes import META, flops, nearest_width, weights

try:
    from accelerate import Accelerator
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel
except ImportError as error:
    raise ImportError(f"{error}: pip install 'rediffuse[benchmarks]' brings what diffusers' training needs") from None

WIDTH = 128
MULTIPLIERS = (1, 2, 2, 2)
LR, WARMUP = 1e-4, 500
STEPS = 1000


class Diffusers:
    """See `Contender`.

    Args:
        task: what to train on.
        lr: of AdamW, after the warm-up.
        evaluations: steps of DDIM.
    """

    name = "diffusers"

    def __init__(self, task: Task, lr: float = LR, evaluations: int = 50) -> None:
        self.task = task
        self.evaluations = evaluations
        self._frame = Frame(cast(tuple[int, int, int], task.images.shape[1:]), multiple=4)
        self._levels = levels(min(self._frame.framed[1:]), len(MULTIPLIERS))
        self._width = WIDTH
        if task.parameters:
            self._width = nearest_width(self._built, task.parameters, range(4, 4096, 4))
        pixels = torch.from_numpy(self._frame.put_on(task.images)).float() / 127.5 - 1
        self._data = TensorDataset(pixels, torch.from_numpy(task.labels))

        self._begin(lr, UNLIMITED)
        planned = UNLIMITED
        if task.seconds:
            planned = steps_within(task.seconds, self.train)
            self._begin(lr, planned)
        self.parameters = weights(self._network)
        precision = "fp16" if task.device.type == "cuda" else "fp32"
        self.setting = (
            f"UNet2DModel {self._width} × {MULTIPLIERS[: self._levels]}, {precision}, "
            f"AdamW {lr:g} cosine over {planned} steps after {min(WARMUP, planned // 10)}, EMAModel, "
            f"train_unconditional.py with labels, DDIM, {evaluations} evaluations"
        )

    def train(self, steps: int) -> None:
        """See `Contender`."""
        self._network.train()
        for _ in range(steps):
            self._step()
        finish(self.task.device)

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """See `Contender`."""
        network = self._accelerator.unwrap_model(self._network).eval()
        self._average.store(network.parameters())
        self._average.copy_to(network.parameters())
        try:
            return self._frame.take_off(drawn(labels, seed, self.task.device, self._draw))
        finally:
            self._average.restore(network.parameters())

    def flops(self) -> float:
        """See `Contender`."""

        def forward(network: nn.Module) -> object:
            labels = torch.zeros(1, dtype=torch.int64, device=META) if self.task.classes else None
            return network(torch.zeros(1, *self._frame.framed), torch.zeros(1, dtype=torch.int64), labels)

        return flops(lambda: self._built(self._width), forward)

    def _built(self, width: int) -> nn.Module:
        channels, *sides = self._frame.framed
        attends = [level == 1 for level in range(self._levels)]
        network: nn.Module = UNet2DModel(
            sample_size=tuple(sides),
            in_channels=channels,
            out_channels=channels,
            layers_per_block=2,
            block_out_channels=tuple(width * multiplier for multiplier in MULTIPLIERS[: self._levels]),
            down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
            up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
            # 32, as it is by default, wherever the width allows it.
            norm_num_groups=gcd(width, 32),
            num_class_embeds=self.task.classes or None,
        )
        return network

    def _begin(self, lr: float, steps: int) -> None:
        """New weights and moments, and a schedule over so many steps."""
        task = self.task
        torch.manual_seed(task.seed)
        cuda = task.device.type == "cuda"
        self._accelerator = Accelerator(mixed_precision="fp16" if cuda else "no", cpu=not cuda)
        network = self._built(self._width)
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        # The example's 500 belong to a training of many thousand steps.
        schedule = get_scheduler(
            "cosine", optimizer=optimizer, num_warmup_steps=min(WARMUP, steps // 10), num_training_steps=steps
        )
        whole = len(self._data) >= task.batch_size
        loader = DataLoader(self._data, batch_size=task.batch_size, shuffle=True, drop_last=whole)
        prepared: tuple[Any, ...] = self._accelerator.prepare(network, optimizer, loader, schedule)
        self._network, self._optimizer, loader, self._schedule = prepared
        self._batches = endless(loader)
        self._noising = DDPMScheduler(num_train_timesteps=STEPS)
        self._average = EMAModel(
            self._network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
        )
        self._average.to(self._accelerator.device)
        self._taken, self._last = 0, steps

    def _step(self) -> None:
        clean, labels = next(self._batches)
        noise = torch.randn(clean.shape, device=clean.device)
        timesteps = torch.randint(0, STEPS, (len(clean),), device=clean.device)
        noisy = self._noising.add_noise(clean, noise, timesteps)
        with self._accelerator.accumulate(self._network):
            predicted = self._network(noisy, timesteps, labels if self.task.classes else None).sample
            loss = F.mse_loss(predicted.float(), noise.float())
            self._accelerator.backward(loss)
            if self._accelerator.sync_gradients:
                self._accelerator.clip_grad_norm_(self._network.parameters(), 1.0)
            self._optimizer.step()
            # Beyond its last step the cosine would rise again.
            if self._taken < self._last:
                self._schedule.step()
            self._optimizer.zero_grad()
        self._average.step(self._network.parameters())
        self._taken += 1
        loss.detach().item()

    @torch.no_grad()
    def _draw(self, labels: np.ndarray) -> Tensor:
        """DDIMPipeline's loop, which takes no labels itself; images on [0, 1]."""
        device = self.task.device
        scheduler = DDIMScheduler.from_config(self._noising.config)
        scheduler.set_timesteps(self.evaluations)
        given = torch.from_numpy(labels).to(device) if self.task.classes else None
        x = torch.randn(len(labels), *self._frame.framed, device=device)
        for t in scheduler.timesteps:
            x = scheduler.step(self._network(x, t, given).sample, t, x).prev_sample
        return (x / 2 + 0.5).clamp(0, 1)


def build(task: Task) -> Diffusers:
    """As documented."""
    return Diffusers(task)
