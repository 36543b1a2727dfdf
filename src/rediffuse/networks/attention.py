"""Self-attention over the pixels of a feature map."""

from torch import Tensor, nn
from torch.nn import functional as F

_EXPLICIT_PAIRS = 1 << 26
"""Pairs of pixels in a batch that a CPU keeps at most; torch's fused kernel, which keeps none, is up to 3 × slower."""


class SelfAttention(nn.Module):
    """Residual multi-head attention among all pixels (Ho et al., 2020, appendix B), an identity when new.

    Args:
        channels: of the feature map; a multiple of head_channels and of groups.
        head_channels: width of one head.
        groups: of the group norm before it.
    """

    def __init__(self, channels: int, head_channels: int, groups: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W -> B×C×H×W."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        # 3×B×heads×pixels×head_channels
        q, k, v = self.qkv(pixels).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = _attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.out(mixed).transpose(1, 2).reshape(x.shape)
        return x + out


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d)·v over B×heads×pixels×d (Vaswani et al., 2017, eq. 1)."""
    batch, heads, pixels, _ = q.shape
    if q.device.type == "cpu" and batch * heads * pixels**2 <= _EXPLICIT_PAIRS:
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        mixed: Tensor = weights.softmax(-1) @ v
        return mixed
    return F.scaled_dot_product_attention(q, k, v)
