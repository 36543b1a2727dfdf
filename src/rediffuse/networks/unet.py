"""A U-Net of residual blocks modulated by noise level and class, with self-attention where the picture is small.

After Ho et al. (2020), with the scale-shift norm of Dhariwal & Nichol (2021, section 3): each residual block
normalises, multiplies by 1 + scale and adds shift, both linear in the embedding of noise level and label. The last
layer of each branch starts at zero, so that a new network is the identity plus nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rediffuse.networks.attention import SelfAttention
from rediffuse.networks.condition import Condition
from rediffuse.networks.embeddings import ClassEmbedding, SinusoidalEncoding


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a norm that the embedding scales and shifts.

    Args:
        channels_in, channels_out: multiples of groups.
        channels_embedding: length of the embedding.
        groups: of the group norms.
        dropout: share of the activations dropped before the second convolution.
    """

    def __init__(
        self, channels_in: int, channels_out: int, channels_embedding: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(groups, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(channels_embedding, 2 * channels_out)
        self.norm_out = nn.GroupNorm(groups, channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _zero(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """B×channels_in×H×W, B×channels_embedding -> B×channels_out×H×W."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = F.silu(torch.addcmul(shift, self.norm_out(h), 1 + scale))
        out: Tensor = self.skip(x) + self.conv_out(self.dropout(h))
        return out


class _Stage(nn.Module):
    """A residual block and, where it is asked for, self-attention."""

    def __init__(self, block: ResidualBlock, attention: SelfAttention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x)


class Unet(nn.Module):
    """The pipeline's own network.

    Args:
        shape: (channels, height, width) of the images; height and width are multiples of 2^(levels - 1).
        classes: number of labels; 0 for a model without.
        width: channels at full resolution.
        multipliers: channels of each level as a multiple of width; each level halves the resolution.
        blocks: residual blocks a level, going down; one more going up.
        attention_sizes: heights of the feature maps that get self-attention: after the last block of their level going
            down, of it going up, and between the two blocks of the middle.
        head_channels: width of an attention head.
        groups: of all group norms; divides width × every multiplier.
        dropout: inside the residual blocks.
        patch: pixels a side that become one position with patch² times the channels (Shi et al., 2016), so that
            full resolution means 1/patch of the image's.

    Raises:
        ValueError: the image can't be cut into patches and halved as often as there are levels.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        width: int = 48,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 2,
        attention_sizes: tuple[int, ...] = (4,),
        head_channels: int = 16,
        groups: int = 8,
        dropout: float = 0.0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        channels, height, image_width = shape
        factor = patch * 2 ** (len(multipliers) - 1)
        if height % factor or image_width % factor:
            raise ValueError(
                f"images of {height}×{image_width} can't be cut into patches of {patch} and halved "
                f"{len(multipliers) - 1} times, as model.unet.patch and the {len(multipliers)} levels of "
                f"model.unet.multipliers ask for: clean.size must be a multiple of {factor}"
            )
        channels, size = channels * patch**2, height // patch
        channels_embedding = 4 * width
        self.patch = patch

        def stage(channels_in: int, channels_out: int, *, attends: bool) -> _Stage:
            block = ResidualBlock(channels_in, channels_out, channels_embedding, groups, dropout)
            return _Stage(
                block,
                SelfAttention(channels_out, head_channels, groups) if attends and size in attention_sizes else None,
            )

        # 1000 radians a unit: over the range of c_noise, about 2.5, as many waves as DDPM's 1000 steps have.
        self.encoding = SinusoidalEncoding(width - width % 2, scale=1000.0)
        self.noise_level = nn.Sequential(
            nn.Linear(width - width % 2, channels_embedding),
            nn.SiLU(),
            nn.Linear(channels_embedding, channels_embedding),
        )
        self.label = ClassEmbedding(classes, channels_embedding) if classes else None

        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        skips, current = [width], width
        for level, multiplier in enumerate(multipliers):
            if level:
                self.down.append(nn.Conv2d(current, current, 3, stride=2, padding=1))
                size //= 2
                skips.append(current)
            for block in range(blocks):
                self.down.append(stage(current, width * multiplier, attends=block == blocks - 1))
                current = width * multiplier
                skips.append(current)

        self.middle = nn.ModuleList([stage(current, current, attends=attends) for attends in (True, False)])

        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for block in range(blocks + 1):
                self.up.append(stage(current + skips.pop(), width * multiplier, attends=block == blocks))
                current = width * multiplier
            if level:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(current, current, 3, padding=1)))
                size *= 2

        self.head = nn.Sequential(
            nn.GroupNorm(groups, current), nn.SiLU(), _zero(nn.Conv2d(current, channels, 3, padding=1))
        )

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        """Noisy images B×C×H×W, noise levels B and a condition -> B×C×H×W."""
        embedding = self.noise_level(self.encoding(c_noise).to(x.dtype))
        if self.label is not None and condition.labels is not None:
            embedding = embedding + self.label(condition.labels)
        embedding = F.silu(embedding)

        x = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = [x]
        for layer in self.down:
            x = layer(x, embedding) if isinstance(layer, _Stage) else layer(x)
            skips.append(x)
        for layer in self.middle:
            x = layer(x, embedding)
        for layer in self.up:
            x = layer(torch.cat([x, skips.pop()], dim=1), embedding) if isinstance(layer, _Stage) else layer(x)
        return F.pixel_shuffle(self.head(x), self.patch)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, starting at zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
