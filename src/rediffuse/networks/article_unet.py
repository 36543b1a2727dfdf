"""The article's U-Net: double convolutions, three levels, self-attention after each, time added to every block.

Channels for width w: in -> w; down w -> 2w -> 4w -> 4w, each followed by self-attention; two double convolutions at
4w; up 8w -> 2w -> w -> w (counted after the skip is joined), each followed by self-attention; a 1×1 convolution out.
The article's w is 64. The time is encoded by 256 sines and cosines; the label is an embedding of that length, added
to it. `ArticleUnet(condition_channels=c)` is the article's second form, which also takes a condition image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rediffuse.networks.condition import Condition
from rediffuse.networks.embeddings import ClassEmbedding, SinusoidalEncoding


class DoubleConv(nn.Module):
    """Conv 3×3, group norm of one group, GELU, conv 3×3, group norm; in its residual form a GELU of the sum."""

    def __init__(
        self, channels_in: int, channels_out: int, channels_between: int | None = None, residual: bool = False
    ) -> None:
        super().__init__()
        between = channels_between or channels_out
        self.residual = residual
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, between, 3, padding=1, bias=False),
            nn.GroupNorm(1, between),
            nn.GELU(),
            nn.Conv2d(between, channels_out, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B×channels_in×H×W -> B×channels_out×H×W."""
        out: Tensor = self.layers(x)
        return F.gelu(x + out) if self.residual else out


class _TimeShift(nn.Module):
    """SiLU and a linear layer of the time encoding, added to every pixel."""

    def __init__(self, channels_time: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.SiLU(), nn.Linear(channels_time, channels))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift: Tensor = self.layers(time)
        return x + shift[:, :, None, None]


class Down(nn.Module):
    """Halve the picture by max-pooling, then two double convolutions and the time."""

    def __init__(self, channels_in: int, channels_out: int, channels_time: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.MaxPool2d(2),
            DoubleConv(channels_in, channels_in, residual=True),
            DoubleConv(channels_in, channels_out),
        )
        self.time = _TimeShift(channels_time, channels_out)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """B×channels_in×H×W, B×channels_time -> B×channels_out×H/2×W/2."""
        out: Tensor = self.time(self.layers(x), time)
        return out


class Up(nn.Module):
    """Double the picture bilinearly, join the skip, then two double convolutions and the time."""

    def __init__(self, channels_in: int, channels_out: int, channels_time: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.layers = nn.Sequential(
            DoubleConv(channels_in, channels_in, residual=True),
            DoubleConv(channels_in, channels_out, channels_between=channels_in // 2),
        )
        self.time = _TimeShift(channels_time, channels_out)

    def forward(self, x: Tensor, skip: Tensor, time: Tensor) -> Tensor:
        """Pictures of H×W and their skip of 2H×2W, channels_in together -> B×channels_out×2H×2W."""
        joined = torch.cat([skip, self.upsample(x)], dim=1)
        out: Tensor = self.time(self.layers(joined), time)
        return out


class PixelAttention(nn.Module):
    """Four-headed attention over the pixels with layer norm, then a feed-forward of the same width, both residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, num_heads=4, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W -> B×C×H×W."""
        pixels = x.flatten(2).transpose(1, 2)
        normed = self.norm(pixels)
        mixed, _ = self.attention(normed, normed, normed, need_weights=False)
        pixels = pixels + mixed
        pixels = pixels + self.feed_forward(pixels)
        out: Tensor = pixels.transpose(1, 2).reshape(x.shape)
        return out


class ArticleUnet(nn.Module):
    """The article's network.

    Args:
        shape: (channels, height, width) of the images; height and width are multiples of 8.
        classes: number of labels; 0 for a model without.
        width: channels of the first double convolution; a multiple of 4.
        time_channels: length of the time encoding; even.
        condition_channels: channels of a condition image, resized bilinearly to the input's size and joined to its
            channels; 0 for a model without.

    Raises:
        ValueError: the image can't be halved three times.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        width: int = 64,
        time_channels: int = 256,
        condition_channels: int = 0,
    ) -> None:
        super().__init__()
        channels, height, image_width = shape
        if height % 8 or image_width % 8:
            raise ValueError(
                f"images of {height}×{image_width} can't be halved 3 times: "
                "with model.name article_unet, clean.size must be a multiple of 8"
            )
        w, time = width, time_channels
        self.condition_channels = condition_channels
        self.encoding = SinusoidalEncoding(time, scale=1000.0)
        self.label = ClassEmbedding(classes, time) if classes else None
        self.stem = DoubleConv(channels + condition_channels, w)
        self.down = nn.ModuleList([Down(w, 2 * w, time), Down(2 * w, 4 * w, time), Down(4 * w, 4 * w, time)])
        self.down_attention = nn.ModuleList([PixelAttention(c) for c in (2 * w, 4 * w, 4 * w)])
        self.middle = nn.Sequential(DoubleConv(4 * w, 4 * w), DoubleConv(4 * w, 4 * w))
        self.up = nn.ModuleList([Up(8 * w, 2 * w, time), Up(4 * w, w, time), Up(2 * w, w, time)])
        self.up_attention = nn.ModuleList([PixelAttention(c) for c in (2 * w, w, w)])
        self.head = nn.Conv2d(w, channels, 1)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        """Noisy images B×C×H×W, noise levels B and a condition -> B×C×H×W."""
        time = self.encoding(c_noise).to(x.dtype)
        if self.label is not None and condition.labels is not None:
            time = time + self.label(condition.labels)
        if self.condition_channels:
            x = torch.cat([x, self._condition_image(x, condition)], dim=1)

        skips = [self.stem(x)]
        for down, attention in zip(self.down, self.down_attention, strict=True):
            skips.append(attention(down(skips[-1], time)))
        x = self.middle(skips.pop())
        for up, attention in zip(self.up, self.up_attention, strict=True):
            x = attention(up(x, skips.pop(), time))
        out: Tensor = self.head(x)
        return out

    def _condition_image(self, x: Tensor, condition: Condition) -> Tensor:
        if condition.image is None:
            return x.new_zeros(len(x), self.condition_channels, *x.shape[2:])
        return F.interpolate(condition.image.to(x.dtype), size=x.shape[2:], mode="bilinear", align_corners=False)
