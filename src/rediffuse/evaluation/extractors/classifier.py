"""The small convolutional network behind every score.

Trained on real images it is the feature extractor and the judge of generated ones (`recipe` trains it).

Trained on the domain itself, it sees what an ImageNet network does not see in an 8×8 digit, and it needs no download.
Its distances mean something only beside each other: never put one next to a published FID.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.extractor import Images as Images
from rediffuse.evaluation.extractors.extractor import Labels as Labels

_GROUPS = 8
_GRID = 4


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a classifier is built from.

    Args:
        channels, height, width: of the images.
        classes: number of classes; 0 gives a network without a head, an extractor with nothing to say about labels.
        base: channels of the first convolution; the second and third have two and four times as many.
        features: dimensions of the feature vector.
    """

    channels: int
    height: int
    width: int
    classes: int
    base: int
    features: int

    @classmethod
    def of(cls, image: tuple[int, int, int], *, classes: int, base: int, features: int) -> "Shape":
        """For images of shape (channels, height, width)."""
        channels, height, width = image
        return cls(channels=channels, height=height, width=width, classes=classes, base=base, features=features)


class Classifier(nn.Module):
    """Three convolutions, an average over a grid of at most 4×4 cells, a feature layer, a linear head.

    Only group norms, so what is said of one image never depends on its batch mates. Weights are drawn from `weights`
    (He et al., 2015; the head's are 0), or are left empty where it is None, to be loaded.
    """

    row_cells: Tensor
    column_cells: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, weights: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        widths = (shape.base, 2 * shape.base, 4 * shape.base)
        height, width = shape.height // 4, shape.width // 4
        if not (height and width):
            raise ValueError(f"images of {shape.height}×{shape.width} are too small: each side needs 4 pixels")
        rows, columns = min(height, _GRID), min(width, _GRID)
        # On the meta device construction draws nothing from the global generator.
        with torch.device("meta"):
            self.convolutions = nn.ModuleList(
                nn.Conv2d(before, after, 3, padding=1)
                for before, after in zip((shape.channels, *widths), widths, strict=False)
            )
            self.norms = nn.ModuleList(nn.GroupNorm(_groups(after), after) for after in widths)
            self.project = nn.Linear(widths[-1] * rows * columns, shape.features)
            self.head = nn.Linear(shape.features, shape.classes) if shape.classes else None
        self.to_empty(device="cpu")
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("row_cells", _cells(height, rows), persistent=False)
        self.register_buffer("column_cells", _cells(width, columns), persistent=False)
        if weights is not None:
            self._draw(weights)

    def features(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, H, W) as feature vectors (B, features)."""
        x = images.float() / 127.5 - 1
        for level, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = nn.functional.gelu(norm(convolution(x)))
            if level < 2:
                x = nn.functional.avg_pool2d(x, 2)
        # A matrix product where nn.AdaptiveAvgPool2d would do: the backward pass of that is not deterministic on CUDA.
        # Where each cell is one pixel it would multiply by 1.
        if x.shape[-2:] != (len(self.row_cells), len(self.column_cells)):
            x = self.row_cells @ x @ self.column_cells.T
        return self.scale * nn.functional.gelu(self.project(x.flatten(1)))

    def logits(self, features: Tensor) -> Tensor:
        """Feature vectors (B, features) as unnormalised log-probabilities (B, classes)."""
        if self.head is None:
            raise ValueError("this network has no classes: it was built for images without labels")
        logits: Tensor = self.head(features / self.scale)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))

    def placed(self, device: torch.device) -> "Classifier":
        """The network itself, on `device` and in the layout that is faster there.

        Channels last saves an eighth of a step on a CPU; CUDA's group norm would copy them back at each level.
        """
        self.to(device)
        return self.to(memory_format=torch.channels_last) if device.type == "cpu" else self

    @torch.no_grad()
    def calibrate(self, images: Images) -> None:
        """Scale the features to a mean square of 1 on `images`; what the head says of them stays.

        Distances then have the same unit whatever the data and the training, and KID's cubic kernel, made for
        x·y/d of about 1, is not left to a few images with long feature vectors.
        """
        batches = (torch.from_numpy(images[first : first + 256]) for first in range(0, len(images), 256))
        squares = [self.features(batch.to(self.scale.device)).double().square().mean(dim=1) for batch in batches]
        self.scale /= torch.cat(squares).mean().sqrt().float()

    @torch.no_grad()
    def _draw(self, weights: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=weights)
            elif isinstance(module, nn.GroupNorm):
                nn.init.ones_(module.weight)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)


def save_classifier(network: Classifier, path: Path) -> None:
    """Replace `path` by the weights as safetensors, with what rebuilds the network under one metadata key."""
    weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    with files.replacing(path) as temporary:
        save_file(weights, temporary, {"classifier": json.dumps(asdict(network.shape), sort_keys=True)})


def load_classifier(path: Path, device: torch.device) -> Classifier:
    """The classifier that `save_classifier` wrote, ready to judge.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            shape = Shape(**json.loads((file.metadata() or {})["classifier"]))
            weights: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = Classifier(shape)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} is not a classifier of the reference stage: {error}; run `dvc repro reference`"
        ) from None
    return network.placed(device).eval()


def _groups(channels: int) -> int:
    """The most groups, up to eight, that divide the channels."""
    return next(groups for groups in range(min(_GROUPS, channels), 0, -1) if channels % groups == 0)


def _cells(size: int, cells: int) -> Tensor:
    """The matrix (cells, size) that averages `size` neighbours into `cells` cells, as adaptive pooling cuts them."""
    matrix = torch.zeros(cells, size)
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, first:end] = 1 / (end - first)
    return matrix
