"""An image's noise is a function of its key alone; between two keys it stays noise."""

import math

import pytest
import torch

from rediffuse.samplers import Between, NoiseKey, slerp
from rediffuse.samplers.noise import noise_of

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)


def test_each_image_has_the_noise_of_its_key_whatever_stands_beside_it():
    first, second = noise_of([NoiseKey(5, 7), NoiseKey(6, 7)], SHAPE, CPU), noise_of([NoiseKey(6, 7)], SHAPE, CPU)
    for _ in range(2):
        drawn, alone = first(), second()
        assert torch.equal(drawn[1], alone[0])
        assert not torch.equal(drawn[0], drawn[1])


def test_the_ends_of_a_walk_are_the_noises_of_its_keys_and_what_lies_between_has_their_length():
    start, stop = NoiseKey(1), NoiseKey(2)
    shares = (0.0, 0.25, 0.5, 1.0)
    walk = noise_of([Between(start, stop, share) for share in shares], SHAPE, CPU)
    ends = noise_of([start, stop], SHAPE, CPU)
    for _ in range(2):
        points, (a, b) = walk(), ends()
        assert torch.equal(points[0], a)
        assert torch.equal(points[3], b)
        for share, point in zip(shares[1:3], points[1:3], strict=True):
            # At its share of the angle, but for the lengths, which differ a little.
            angle = torch.acos(torch.sum(a * b) / a.norm() / b.norm())
            passed = torch.acos(torch.sum(a * point) / a.norm() / point.norm())
            assert float(passed) == pytest.approx(share * float(angle), abs=0.05)
            assert float(point.norm()) == pytest.approx(math.sqrt(3 * 16 * 16), rel=0.05)


def test_a_way_from_a_noise_to_itself_stays_there():
    (one,) = noise_of([NoiseKey(3)], SHAPE, CPU)()
    assert torch.allclose(slerp(one, one, 0.3), one)
    assert torch.isfinite(slerp(one, -one, 0.5)).all()
