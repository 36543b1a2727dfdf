"""What a network costs is what a hand counts."""

import pytest
import torch
from torch import nn

from rediffuse.networks import ArticleUnet, Unet
from rediffuse.networks.cost import Cost, cost


class Small(nn.Module):
    """A convolution to four channels, halving, a linear layer of each, and a transposed convolution back."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(16, 16, bias=False)
        self.last = nn.ConvTranspose2d(4, 2, 2, stride=2)

    def forward(self, x, c_noise, condition):
        assert condition.labels is None
        h = self.dropout(self.first(x)).flatten(2)
        return self.last(self.linear(h).unflatten(2, (4, 4)))


def test_a_small_networks_cost_is_that_counted_by_hand():
    network, before = Small(), torch.get_rng_state()
    first, linear, last = 2 * (9 * 2 * 4) * 16, 2 * 4 * 16 * 16, 2 * (4 * 4 * 2) * 16
    weights = (9 * 2 * 4 + 4) + 16 * 16 + (4 * 4 * 2 + 2)
    assert cost(network, (2, 8, 8), labelled=False) == Cost(weights, first + linear + last)
    assert network.training
    assert network.first.weight.grad is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [Unet, ArticleUnet])
def test_attention_counts_in_both_modes_of_a_network(make):
    """Torch has fused ways that its counter takes for nothing: which one is taken must not matter."""
    settings = {"width": 8, "groups": 2, "head_channels": 4} if make is Unet else {"width": 8}
    network = make((1, 8, 8), 3, **settings)
    trained = cost(network, (1, 8, 8), labelled=True)
    with torch.no_grad():
        assert cost(network.eval(), (1, 8, 8), labelled=True) == trained
    assert not network.training
