"""Both networks are functions of image, noise level and condition, and nothing in a batch leaks into its neighbour."""

import pytest
import torch
from torch import Tensor, nn

from rediffuse.networks import NO_LABEL, ArticleUnet, Condition, Unet, attention
from rediffuse.networks.article_unet import DoubleConv, Down, PixelAttention, Up
from rediffuse.networks.attention import SelfAttention
from rediffuse.networks.embeddings import ClassEmbedding, SinusoidalEncoding
from rediffuse.randomness import generator, seeded_global

SHAPE = (1, 8, 8)


def unet(classes: int = 3, **settings: object) -> Unet:
    with seeded_global(0, "test"):
        return Unet(SHAPE, classes, width=16, head_channels=8, groups=4, **settings)


def article_unet(classes: int = 3, **settings: object) -> ArticleUnet:
    with seeded_global(0, "test"):
        return ArticleUnet(SHAPE, classes, width=8, time_channels=32, **settings)


def awake(network: nn.Module) -> nn.Module:
    """With its zero-initialised layers set to something, so that every path carries a signal."""
    draw = generator(1, "awake")
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2, generator=draw)
    return network.eval()


def noisy(count: int = 4) -> tuple[Tensor, Tensor, Condition]:
    draw = generator(0, "noisy")
    labels = torch.arange(count) % 3
    return torch.randn(count, *SHAPE, generator=draw), torch.randn(count, generator=draw) / 2, Condition(labels=labels)


@pytest.mark.parametrize("build", [unet, article_unet])
def test_an_example_does_not_depend_on_its_batch_mates(build):
    network = awake(build())
    x, c_noise, condition = noisy()
    alone = network(x[:1], c_noise[:1], Condition(labels=condition.labels[:1]))
    torch.testing.assert_close(network(x, c_noise, condition)[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [unet, article_unet])
def test_noise_level_and_label_each_change_the_output(build):
    network = awake(build())
    x, c_noise, condition = noisy()
    out = network(x, c_noise, condition)
    assert out.shape == x.shape
    assert (network(x, c_noise + 0.3, condition) - out).abs().max() > 1e-3
    assert (network(x, c_noise, Condition(labels=(condition.labels + 1) % 3)) - out).abs().max() > 1e-3


@pytest.mark.parametrize("build", [unet, article_unet])
def test_no_label_is_the_model_without_labels(build):
    network = awake(build())
    x, c_noise, condition = noisy()
    torch.testing.assert_close(network(x, c_noise, condition.null()), network(x, c_noise, Condition()))


def test_patches_halve_the_network_and_not_the_picture():
    network = awake(unet(multipliers=(1,), patch=2))
    x, c_noise, condition = noisy()
    out = network(x, c_noise, condition)
    assert out.shape == x.shape
    assert network.stem.in_channels == 4
    moved = x.clone()
    moved[:, :, 3, 5] += 1
    # Each pixel of a patch is seen, and answered, in its own place.
    assert (network(moved, c_noise, condition) - out)[:, :, 3, 5].abs().min() > 1e-3


@pytest.mark.parametrize("explicit", [True, False])
def test_attention_is_the_softmax_of_all_pairs_whichever_kernel_computes_it(monkeypatch, explicit: bool):
    if not explicit:
        monkeypatch.setattr(attention, "_EXPLICIT_PAIRS", 0)
    layer = awake(SelfAttention(16, 8, 4))
    x = torch.randn(2, 16, 3, 3, generator=generator(0, "attention"))
    pixels = layer.norm(x).flatten(2).transpose(1, 2)
    q, k, v = layer.qkv(pixels).chunk(3, dim=2)
    heads = [slice(0, 8), slice(8, 16)]
    mixed = [(q[..., h] @ k[..., h].transpose(1, 2) / 8**0.5).softmax(2) @ v[..., h] for h in heads]
    expected = x + layer.out(torch.cat(mixed, dim=2)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_a_new_unet_predicts_zero_and_a_new_attention_is_the_identity():
    x, c_noise, condition = noisy()
    assert not unet()(x, c_noise, condition).any()
    features = torch.randn(2, 16, 4, 4, generator=generator(0, "features"))
    assert torch.equal(SelfAttention(16, head_channels=8, groups=4)(features), features)


def test_attention_mixes_all_pixels_and_knows_no_order():
    attention = awake(SelfAttention(16, head_channels=8, groups=4))
    x = torch.randn(1, 16, 4, 4, generator=generator(0, "features"))
    turned = attention(x.flip(-1)).flip(-1)
    torch.testing.assert_close(attention(x), turned, atol=1e-5, rtol=1e-5)
    moved = x.clone()
    moved[..., 0, 0] += 1
    assert (attention(moved) - attention(x))[..., 3, 3].abs().max() > 1e-4


def test_unet_attends_only_where_it_is_told():
    def count(*sizes: int) -> int:
        return sum(isinstance(module, SelfAttention) for module in unet(attention_sizes=sizes).modules())

    assert (count(2), count(4), count(8)) == (0, 1 + 1 + 1, 1 + 1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: Unet((1, 30, 30), 0, multipliers=(1, 2, 4)), "clean.size must be a multiple of 4"),
        (lambda: ArticleUnet((1, 28, 28), 0), "clean.size must be a multiple of 8"),
    ],
)
def test_a_size_that_cannot_be_halved_is_refused(network, message: str):
    with pytest.raises(ValueError, match=message):
        network()


def test_sinusoidal_encoding_is_the_papers():
    # Vaswani et al. (2017): sin(position / 10000^(2i/d)), here with the sines first.
    encoded = SinusoidalEncoding(8)(torch.tensor([3.0]))
    expected = [3 / 10_000 ** (2 * i / 8) for i in range(4)]
    torch.testing.assert_close(encoded[0, :4], torch.tensor(expected).sin())
    torch.testing.assert_close(encoded[0, 4:], torch.tensor(expected).cos())


def test_an_example_without_label_adds_nothing():
    embedded = ClassEmbedding(3, 4)(torch.tensor([0, NO_LABEL, 2]))
    assert embedded[0].any()
    assert not embedded[1].any()
    assert embedded[2].any()


def test_labels_are_dropped_one_by_one():
    condition = Condition(labels=torch.tensor([0, 1, 2]), image=torch.ones(3, 1, 2, 2))
    dropped = condition.drop(torch.tensor([False, True, False]))
    assert dropped.labels.tolist() == [0, NO_LABEL, 2]
    assert dropped.image.flatten(1).sum(1).tolist() == [4, 0, 4]


def test_article_network_has_the_articles_layers():
    network = ArticleUnet((3, 32, 32), 10)
    convolution = network.stem.layers[0]
    assert (convolution.in_channels, convolution.out_channels, convolution.bias) == (3, 64, None)
    assert [(block.layers[1].layers[0].in_channels, block.time.layers[1].out_features) for block in network.down] == [
        (64, 128),
        (128, 256),
        (256, 256),
    ]
    assert [(block.layers[0].layers[0].in_channels, block.time.layers[1].out_features) for block in network.up] == [
        (512, 128),
        (256, 64),
        (128, 64),
    ]
    # The width inside the second double convolution of Up is half of what comes in.
    assert [block.layers[1].layers[0].out_channels for block in network.up] == [256, 128, 64]
    assert [layer.out_channels for layer in network.middle.modules() if isinstance(layer, nn.Conv2d)] == [256] * 4
    assert [block.attention.num_heads for block in (*network.down_attention, *network.up_attention)] == [4] * 6
    assert (network.head.kernel_size, network.head.out_channels) == ((1, 1), 3)
    assert network.label.table.weight.shape == (10, 256)
    assert all(layer.num_groups == 1 for layer in network.modules() if isinstance(layer, nn.GroupNorm))


def test_double_convolution_is_residual_only_when_asked():
    plain, residual = DoubleConv(4, 4), DoubleConv(4, 4, residual=True)
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 6, 6, generator=generator(0, "x"))
    torch.testing.assert_close(residual(x), nn.functional.gelu(x + plain(x)))


def test_article_blocks_halve_double_and_attend():
    time = torch.randn(2, 16, generator=generator(0, "time"))
    x = torch.randn(2, 4, 8, 8, generator=generator(0, "x"))
    assert Down(4, 12, 16)(x, time).shape == (2, 12, 4, 4)
    assert Up(12, 4, 16)(torch.zeros(2, 8, 4, 4), x, time).shape == (2, 4, 8, 8)
    moved = x.clone()
    moved[:, 0, 0, 0] += 1
    attention = PixelAttention(4).eval()
    assert (attention(moved) - attention(x))[..., 7, 7].abs().max() > 1e-5


def test_a_condition_image_is_resized_bilinearly_and_joined_to_the_input():
    network = article_unet(condition_channels=2)
    x, c_noise, condition = noisy()
    small = torch.randn(4, 2, 5, 5, generator=generator(0, "condition"))
    resized = nn.functional.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False)
    of_small = network(x, c_noise, Condition(labels=condition.labels, image=small))
    torch.testing.assert_close(of_small, network(x, c_noise, Condition(labels=condition.labels, image=resized)))
    assert (of_small - network(x, c_noise, condition)).abs().max() > 1e-3
    # No image is an image of zeros: the null condition of guidance.
    zeros = Condition(labels=condition.labels, image=torch.zeros(4, 2, 8, 8))
    assert torch.equal(network(x, c_noise, condition), network(x, c_noise, zeros))


def test_the_article_network_learns_to_use_a_condition_image():
    network = article_unet(classes=0, condition_channels=1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        draw = generator(0, "learn", step)
        noise, answer = (torch.randn(16, *SHAPE, generator=draw) for _ in range(2))
        # The input is pure noise: only the condition tells the answer.
        out = network(noise, torch.zeros(16), Condition(image=answer))
        loss = (out - answer).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 < 0.9 < losses[0]
