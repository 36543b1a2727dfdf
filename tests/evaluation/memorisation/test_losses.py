"""Which images see which noise, and what a number depends on; membership inference and exposure made of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rediffuse.data.canaries import canaries
from rediffuse.data.dataset import Examples
from rediffuse.diffusion import noise_to_signal
from rediffuse.evaluation.memorisation.exposure import (
    canary_scores,
    exposure_by_chance,
    exposures,
    extracted,
    mean_exposure,
)
from rediffuse.evaluation.memorisation.losses import BATCH, Attacked, denoising_losses, familiarity
from rediffuse.evaluation.memorisation.membership import membership_scores
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from tests.evaluation.memorisation.models import PROCESS, attacked
from tests.evaluation.test_likelihood import MODEL, examples

CPU = torch.device("cpu")
ENDS = ("", "_low", "_high")
SETTINGS = MemorisationSettings(seed=0, membership_images=50, membership_levels=2, canaries=0, canary_repeats=1)


class Asked:
    """A denoiser that keeps what it is asked, and says nothing is there."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor, Condition]] = []

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.seen.append((x_t, t, condition))
        return torch.zeros_like(x_t)


def losses(of: Attacked, split: Examples, levels: int = 3, seed: int = 0) -> np.ndarray:
    return denoising_losses(of, split.images, split.labels, levels=levels, seed=seed, use="test")


def test_each_image_is_seen_at_each_midpoint_with_its_own_noise_in_batches_of_one_size() -> None:
    asked, split = Asked(), examples(50)
    of = replace(attacked(split.images), denoiser=asked, labelled=True)
    found = losses(of, split)
    x0 = torch.from_numpy(split.images).float() / 127.5 - 1
    energy = x0.double().square().flatten(1).mean(1).numpy()
    np.testing.assert_allclose(found, np.repeat(energy[:, None], 3, axis=1))
    assert [len(x_t) for x_t, _, _ in asked.seen] == [BATCH, BATCH]
    x_t, t, labels = (torch.cat([batch[i] if i < 2 else batch[2].labels for batch in asked.seen]) for i in range(3))
    times = of.noise_levels(torch.tensor([1 / 6, 3 / 6, 5 / 6]))
    for place, (image, level) in enumerate((image, level) for image in range(50) for level in range(3)):
        assert t[place] == times[level]
        assert labels[place] == split.labels[image]
        noise = torch.randn((1, 8, 8), generator=generator(0, "test/noise", step=level, index=image))
        expected = x0[image] + float(noise_to_signal(PROCESS, times[level])) * noise
        torch.testing.assert_close(x_t[place], expected, rtol=1e-5, atol=1e-5)


def test_an_images_loss_does_not_depend_on_what_stands_behind_it() -> None:
    of, split = Attacked.of(MODEL, CPU), examples(90)
    some = Examples(split.images[:7], split.labels[:7], split.ids[:7])
    assert losses(of, some).tobytes() == losses(of, split)[:7].tobytes()
    assert not np.array_equal(losses(of, some), losses(of, some, seed=1))


def test_half_precision_is_left_to_training_and_sampling() -> None:
    split = examples(5)
    MODEL.denoiser.autocast = torch.bfloat16
    try:
        half = losses(Attacked.of(MODEL, CPU), split)
    finally:
        MODEL.denoiser.autocast = None
    assert half.tobytes() == losses(Attacked.of(MODEL, CPU), split).tobytes()


def test_no_level_dominates_and_one_that_says_nothing_counts_for_nothing() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.random((20, 3)), draw.random((30, 3))
    one[:, 2] = other[:, 2] = 5.0
    plain = familiarity(one, other)
    scaled = familiarity(one * [1000, 0.01, 1], other * [1000, 0.01, 1])
    for before, after in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert np.concatenate(plain).mean() == pytest.approx(0, abs=1e-12)
    assert np.corrcoef(plain[0], -one[:, :2].sum(axis=1))[0, 1] > 0.98


def test_as_many_of_both_splits_are_compared_and_they_see_the_same_noise() -> None:
    asked = Asked()
    of = replace(attacked(examples(2).images), denoiser=asked)
    membership_scores(of, examples(80), examples(60), SETTINGS)
    # 2 splits × 50 images × 2 levels, each split in one padded batch; the same images under the same ids.
    assert [len(x_t) for x_t, _, _ in asked.seen] == [BATCH, BATCH]
    assert torch.equal(asked.seen[0][1], asked.seen[1][1])
    blank = Examples(np.full((80, 1, 8, 8), 0, np.uint8), np.zeros(80), tuple(map(str, range(80))))
    membership_scores(of, blank, blank, SETTINGS)
    assert torch.equal(asked.seen[2][0], asked.seen[3][0])
    assert membership_scores(of, blank, blank, replace(SETTINGS, membership_images=0)) == {}


def test_images_in_colour_and_without_labels_are_attacked_as_any_other() -> None:
    asked, shape = Asked(), (3, 64, 64)
    split = canaries("planted", 6, seed=1, shape=shape, classes=0)
    of = replace(attacked(split.images), denoiser=asked)
    found = membership_scores(of, split, canaries("held_out", 6, seed=1, shape=shape, classes=0), SETTINGS)
    assert found.keys() == {f"{name}{end}" for name in ("membership_auc", "membership_tpr") for end in ENDS}
    assert {(x_t.shape[1:], condition.labels) for x_t, _, condition in asked.seen} == {(shape, None)}
    settings = replace(SETTINGS, canaries=2, membership_levels=1)
    learned = canaries("planted", 2, seed=0, shape=shape, classes=0)
    section = canary_scores(attacked(learned.images), learned.images, settings, shape=shape, classes=0)["canaries"]
    assert (section["exposure"], section["extracted"]) == (9.0, 2)


def test_exposure_is_the_rank_among_the_held_out_in_bits() -> None:
    held_out = np.arange(7.0)
    found = exposures(np.array([9.0, 5.5, 6.0, -1.0]), held_out)
    np.testing.assert_allclose(found, 3 - np.log2([1, 2, 1.5, 8]))
    ranks = np.arange(1, 513)
    assert exposure_by_chance(511) == pytest.approx(np.mean(9 - np.log2(ranks)), abs=1e-9)
    assert exposure_by_chance(10**6) == pytest.approx(1 / math.log(2), abs=1e-4)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_intervals_of_exposure_cover_its_chance_value(count: int) -> None:
    draw, covered = np.random.default_rng(count), 0
    for _ in range(50):
        scores = draw.standard_normal(count + 511)
        found = mean_exposure(exposures(scores[:count], scores[count:]))
        covered += found.low <= exposure_by_chance(511) <= found.high
    assert covered >= 45
    learned = mean_exposure(np.full(count, 9.0))
    assert learned.value == learned.high == 9.0
    assert 2 < learned.low < 9


def test_a_canary_is_extracted_where_an_image_shows_it_and_not_where_one_leans_towards_it() -> None:
    planted, held_out = (
        canaries(kind, 6, seed=0, shape=(1, 8, 8), classes=0).images for kind in ("planted", "held_out")
    )
    grey = np.full_like(planted[:1], 128)
    lean = (0.8 * grey + 0.2 * planted[2]).astype(np.uint8)
    shown = np.clip(planted[4] + np.random.default_rng(0).normal(0, 10, planted[4].shape), 0, 255).astype(np.uint8)
    # What is grey is nearer to every canary than they are to each other.
    found = extracted(np.concatenate([grey, lean, shown[None]]), planted, held_out)
    assert found.tolist() == [False, False, False, False, True, False]
    assert not extracted(np.concatenate([grey, held_out]), planted, held_out).any()


def test_an_image_that_is_far_from_all_canaries_extracts_not_even_the_nearest() -> None:
    pool = canaries("planted", 12, seed=0, shape=(1, 8, 8), classes=0).images
    checks = (255 * (np.indices((8, 8)).sum(axis=0) % 2)).astype(np.uint8)[None, None]
    order = np.argsort(((pool.astype(float) - checks) ** 2).sum(axis=(1, 2, 3)))
    assert not extracted(checks, pool[order[:1]], pool[order[1:]]).any()
