"""How the classifier is trained: by one recipe, on real images and on generated ones.

Trained on real images it judges generated ones. Trained from scratch on generated images, its accuracy on real ones is
the classification accuracy score; the two accuracies compare because nothing but the images differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    network = Classifier(shape, generator(seed, f"{stream}/weights", index=repeat)).placed(device)
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
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
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
        shown = _shifted(
            # Nothing waits for the device: the loss is never read.
            torch.from_numpy(images[chosen]).to(device, non_blocking=True),
            reach,
            generator(seed, f"{stream}/shift", step, repeat),
        )
        loss = nn.functional.cross_entropy(
            network(shown), torch.from_numpy(labels[chosen]).to(device, non_blocking=True)
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _shifted(images: Tensor, reach: Sequence[int], key: torch.Generator) -> Tensor:
    """Each image moved by its own whole number of pixels, at most `reach` (rows, columns), its edges repeated."""
    count, channels, *sides = images.shape
    # Drawn on the CPU, so that they are the same on all devices.
    moves = [torch.randint(-pixels, pixels + 1, (count, 1), generator=key) for pixels in reach]
    rows, columns = (
        (torch.arange(side) + move).clamp_(0, side - 1).to(images.device, non_blocking=True)
        for side, move in zip(sides, moves, strict=True)
    )
    each = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return images[each, channel, rows[:, None, :, None], columns[:, None, None, :]]
