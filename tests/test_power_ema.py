"""The profile of a power-function average, its published constants, and other lengths computed from stored ones."""

import numpy as np
import pytest
import torch

from rediffuse.power_ema import LENGTHS, Profile, coefficients, decay, exponent
from rediffuse.randomness import generator


def weights(profile: Profile, steps: int) -> np.ndarray:
    """What the average gives to each of the steps 1 ... steps: the integral of the profile over the step."""
    edges = np.minimum(np.arange(steps + 1) / profile.step, 1) ** (exponent(profile.length) + 1)
    return np.diff(edges)


def stored(steps: int, snapshots: int) -> list[Profile]:
    return [Profile(round(part * steps / snapshots), length) for part in range(1, snapshots + 1) for length in LENGTHS]


def test_the_exponents_are_the_published_ones():
    assert exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.005)


@pytest.mark.parametrize("length", [1e-3, 0.01, 0.05, 0.1, 0.2, 0.28])
def test_an_exponent_has_the_length_it_was_asked_for(length: float):
    gamma = exponent(length)
    assert gamma >= 0
    assert (gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)) == pytest.approx(length**2, rel=1e-12)
    # The standard deviation of the density t^γ on 0 ... 1, by numbers.
    t = (np.arange(200_000) + 0.5) / 200_000
    density = t**gamma / (t**gamma).sum()
    assert np.sqrt((density * t**2).sum() - (density * t).sum() ** 2) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_decay_makes_the_profile(length: float):
    gamma, steps = exponent(length), 500
    given = np.zeros(steps)
    for step in range(1, steps + 1):
        beta = decay(step, gamma)
        given *= beta
        given[step - 1] += 1 - beta
    np.testing.assert_allclose(given, weights(Profile(steps, length), steps), rtol=1e-9, atol=1e-15)
    # Which is t^γ, scaled to the sum 1, but for the length of a step.
    middle = (np.arange(steps) + 0.5) ** gamma
    np.testing.assert_allclose(given[100:], (middle / middle.sum())[100:], rtol=3e-3)


def test_a_stored_average_is_itself():
    profiles = stored(2400, 4)
    for place, profile in enumerate(profiles):
        if profile.step == 2400:
            found = coefficients(profiles, profile)
            np.testing.assert_allclose(found, np.eye(len(profiles))[place], atol=1e-12)


@pytest.mark.parametrize(("length", "snapshots", "error"), [(0.075, 4, 0.04), (0.075, 16, 0.004), (0.15, 16, 0.01)])
def test_the_profile_of_a_third_length_is_met(length: float, snapshots: int, error: float):
    steps = 1600
    profiles = stored(steps, snapshots)
    found = coefficients(profiles, Profile(steps, length))
    assert sum(found) == pytest.approx(1, abs=1e-12)
    made = sum(part * weights(profile, steps) for part, profile in zip(found, profiles, strict=True))
    wanted = weights(Profile(steps, length), steps)
    assert np.linalg.norm(made - wanted) < error * np.linalg.norm(wanted)
    # The best of the stored ones alone is much further off.
    alone = min(np.linalg.norm(weights(Profile(steps, each), steps) - wanted) for each in LENGTHS)
    assert alone > 0.1 * np.linalg.norm(wanted)


def test_weights_that_wander_are_averaged_as_if_that_length_had_been_kept():
    steps = 1200
    walk = torch.randn(steps, 50, generator=generator(0, "walk"), dtype=torch.float64).cumsum(0).numpy() / steps**0.5
    profiles = stored(steps, 8)
    found = coefficients(profiles, Profile(steps, 0.075))
    made = sum(part * (weights(profile, steps) @ walk) for part, profile in zip(found, profiles, strict=True))
    wanted = weights(Profile(steps, 0.075), steps) @ walk
    nearest = min(np.abs(weights(Profile(steps, each), steps) @ walk - wanted).max() for each in LENGTHS)
    assert np.abs(made - wanted).max() < 0.02 * nearest


@pytest.mark.parametrize("length", [0.01, 0.28])
def test_a_length_that_the_snapshots_do_not_hold_is_refused(length: float):
    with pytest.raises(ValueError, match=r"4 snapshots give only with an error of \d\d%, above 10%"):
        coefficients(stored(2400, 4), Profile(2400, length))
    assert coefficients(stored(2400, 256), Profile(2400, length))
