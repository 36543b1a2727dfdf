"""Self-attention over the pixels of a feature map."""

from torch import Tensor, nn
from torch.nn import functional as F


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
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W -> B×C×H×W."""
        batch, channels, height, width = x.shape
        # B×3×heads×head_channels×pixels, then pixels before channels
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        out: Tensor = self.out(mixed.reshape(batch, channels, height, width))
        return x + out
