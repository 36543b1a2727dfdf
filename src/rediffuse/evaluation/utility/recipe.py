"""How the classifier is trained: by one recipe, on real images and on generated ones.

Trained on real images it judges generated ones. Trained from scratch on generated images, its accuracy on real ones is
the classification accuracy score; the two accuracies compare because nothing but the images differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rediffuse.evaluation.extractors.classifier import Classifier, Images, Labels, Shape
from rediffuse.randomness import generator

_CALIBRATED_ON = 4096


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained: alike on real and on generated images, whatever their number.

    Args:
        steps: optimizer steps; counted in steps and not in epochs, so that two sets of unlike size train alike and a
            large set costs no more than a small one.
        batch_size: images a step, where there are as many.
        lr: peak learning rate of AdamW, reached after a tenth of the steps; it falls to 0 along a cosine.
        weight_decay: of AdamW.
        shift: each training image is moved by up to this share of its side in either direction, edges repeated.
    """

    steps: int
    batch_size: int
    lr: float
    weight_decay: float = 0.01
    shift: float = 0.08


def train_classifier(
    images: Images,
    labels: Labels,
    *,
    shape: Shape,
    recipe: Recipe,
    seed: int,
    stream: str,
    device: torch.device,
    repeat: int = 0,
) -> Classifier:
    """A classifier of `images`, trained from scratch; the same bytes for the same arguments and kind of device.

    The weights are those of the last step: nothing is chosen by looking at a held-out set.

    Args:
        images: (N, C, H, W), 0 to 255.
        labels: (N,), 0 to shape.classes - 1, or -1 for images without one, which are not trained on; with no classes
            nothing is trained and the drawn weights are kept.
        seed, stream, repeat: key of every random number: weights, order, shifts. Trainings of one stream that differ
            in `repeat` alone are independent of each other.
    """
    network = Classifier(shape, generator(seed, f"{stream}/weights", index=repeat)).to(device)
    if shape.classes:
        known = labels >= 0
        shown = (images, labels) if known.all() else (images[known], labels[known])
        _fit(network, *shown, recipe=recipe, seed=seed, stream=stream, repeat=repeat)
    some = torch.randperm(len(images), generator=generator(seed, f"{stream}/scale"))[:_CALIBRATED_ON]
    network.calibrate(images[some.sort().values.numpy()])
    return network.eval()


def _fit(
    network: Classifier, images: Images, labels: Labels, *, recipe: Recipe, seed: int, stream: str, repeat: int
) -> None:
    device = network.scale.device
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=max(recipe.steps, 2), pct_start=0.1, cycle_momentum=False
    )
    reach = (round(recipe.shift * network.shape.height), round(recipe.shift * network.shape.width))
    batch_size = min(recipe.batch_size, len(images))
    batches_an_epoch = len(images) // batch_size
    network.train()
    for step in range(recipe.steps):
        epoch, batch = divmod(step, batches_an_epoch)
        if batch == 0:
            order = torch.randperm(len(images), generator=generator(seed, f"{stream}/order", epoch, repeat)).numpy()
        chosen = order[batch * batch_size : (batch + 1) * batch_size]
        shown = _shifted(images[chosen], reach, generator(seed, f"{stream}/shift", step, repeat))
        logits = network(torch.from_numpy(shown).to(device))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[chosen]).to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _shifted(images: Images, reach: Sequence[int], key: torch.Generator) -> Images:
    """Each image moved by its own whole number of pixels, at most `reach` (rows, columns), its edges repeated."""
    count, _, height, width = images.shape
    vertical, horizontal = (torch.randint(-pixels, pixels + 1, (count, 1), generator=key).numpy() for pixels in reach)
    rows = np.clip(np.arange(height) + vertical, 0, height - 1)
    columns = np.clip(np.arange(width) + horizontal, 0, width - 1)
    moved = np.take_along_axis(images, rows[:, None, :, None], axis=2)
    return np.take_along_axis(moved, columns[:, None, None, :], axis=3)
