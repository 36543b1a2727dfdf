"""The article's own network and training loop as published, written anew from its text.

DDPM with 1000 linear betas, the noise as target; AdamW with OneCycleLR, autocast with a gradient scaler on CUDA, an
EMA that is a copy until step 2000, a data loader, the loss read after every step for the progress bar; ancestral
sampling. The text names no learning rate and no guidance scale. What it does besides (a validation pass each epoch,
images of every class at intervals) is left out, in its favour.
"""

import copy
import random
from itertools import count
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders import Task
from benchmarks.contenders.framing import Frame, drawn
from benchmarks.contenders.planning import UNLIMITED, endless, finish, steps_within
from benchmarks.contenders.sizes import META, flops, nearest_width, weights
from rediffuse.networks import ArticleUnet, Condition

WIDTH = 64
STEPS = 1000
EMA_BETA, EMA_START = 0.995, 2000
WEIGHT_DECAY = 0.001
LABEL_DROP = 0.1


class Article:
    """See `Contender`.

    Args:
        task: what to train on.
        lr: the peak of OneCycleLR, which the text leaves open.
    """

    name = "article"
    evaluations = STEPS

    def __init__(self, task: Task, lr: float = 1e-3) -> None:
        self.task = task
        self._frame = Frame(cast(tuple[int, int, int], task.images.shape[1:]), multiple=8)
        self._width = WIDTH
        if task.parameters:
            self._width = nearest_width(self._built, task.parameters, count(4, 4))
        pixels = torch.from_numpy(self._frame.put_on(task.images)).float() / 127.5 - 1
        self._data = TensorDataset(pixels, torch.from_numpy(task.labels))
        betas = torch.linspace(1e-4, 0.02, STEPS, device=task.device)
        self._betas, self._alphas = betas, 1 - betas
        self._alphas_bar = self._alphas.cumprod(0)

        self._begin(lr, UNLIMITED)
        self.planned = UNLIMITED
        if task.seconds:
            self.planned = steps_within(task.seconds, self.train)
            self._begin(lr, self.planned)
        self.parameters = weights(self._network)
        half = "fp16 with GradScaler" if task.device.type == "cuda" else "fp32"
        self.setting = (
            f"the article's U-Net of width {self._width} at {self._frame.framed[1]}×{self._frame.framed[2]}, {half}, "
            f"AdamW {lr:g} OneCycleLR over {self.planned} steps, EMA {EMA_BETA} from step {EMA_START}, "
            f"ancestral, {STEPS} evaluations, no guidance"
        )

    def train(self, steps: int) -> None:
        """See `Contender`."""
        for _ in range(steps):
            self._step()
        finish(self.task.device)

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """See `Contender`."""
        return self._frame.take_off(drawn(labels, seed, self.task.device, self._draw))

    def flops(self) -> float:
        """See `Contender`."""

        def forward(network: nn.Module) -> object:
            labels = torch.zeros(1, dtype=torch.int64, device=META)
            return network(torch.zeros(1, *self._frame.framed), torch.zeros(1), Condition(labels=labels))

        return flops(lambda: self._built(self._width), forward)

    def _built(self, width: int) -> ArticleUnet:
        return ArticleUnet(self._frame.framed, self.task.classes, width=width)

    def _begin(self, lr: float, steps: int) -> None:
        """New weights and moments, and a schedule over so many steps."""
        task = self.task
        torch.manual_seed(task.seed)
        self._random = random.Random(task.seed)
        self._network = self._built(self._width).to(task.device).train()
        self._average = copy.deepcopy(self._network).eval().requires_grad_(False)
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, max_lr=lr, total_steps=steps)
        self._scaler = torch.amp.GradScaler(task.device.type, enabled=task.device.type == "cuda")
        whole = len(self._data) >= task.batch_size
        loader = DataLoader(self._data, batch_size=task.batch_size, shuffle=True, drop_last=whole)
        self._batches = endless(loader)
        self._taken, self._last = 0, steps

    def _step(self) -> None:
        device = self.task.device
        images, labels = (each.to(device) for each in next(self._batches))
        t = torch.randint(0, STEPS, (len(images),), device=device)
        noise = torch.randn_like(images)
        alpha_bar = self._alphas_bar[t][:, None, None, None]
        noisy = alpha_bar.sqrt() * images + (1 - alpha_bar).sqrt() * noise
        given = None if self._random.random() < LABEL_DROP else labels
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            loss = F.mse_loss(self._predict(self._network, noisy, t, given), noise)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._taken += 1
        self._update_average()
        # OneCycleLR refuses a step beyond its last; the last learning rate holds.
        if self._taken < self._last:
            self._schedule.step()
        loss.item()

    def _update_average(self) -> None:
        if self._taken < EMA_START:
            self._average.load_state_dict(self._network.state_dict())
            return
        for average, new in zip(self._average.parameters(), self._network.parameters(), strict=True):
            average.data = average.data * EMA_BETA + (1 - EMA_BETA) * new.data

    @torch.no_grad()
    def _draw(self, labels: np.ndarray) -> Tensor:
        """Ho et al.'s algorithm 2, images on [0, 1]."""
        device = self.task.device
        given = torch.from_numpy(labels).to(device) if self.task.classes else None
        x = torch.randn(len(labels), *self._frame.framed, device=device)
        for step in reversed(range(STEPS)):
            t = torch.full((len(x),), step, device=device)
            noise = self._predict(self._average, x, t, given)
            x = (x - self._betas[step] / (1 - self._alphas_bar[step]).sqrt() * noise) / self._alphas[step].sqrt()
            if step:
                x = x + self._betas[step].sqrt() * torch.randn_like(x)
        return (x.clamp(-1, 1) + 1) / 2

    def _predict(self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        # The network's encoding has 1000 radians a unit: a step is a thousandth.
        noise: Tensor = network(x, t.float() / STEPS, Condition(labels=labels))
        return noise


def build(task: Task) -> Article:
    """As published."""
    return Article(task)
