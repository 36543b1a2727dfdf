"""Union-find against a naive one."""

import numpy as np
import pytest

from rediffuse.data.duplicates import components


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_merging_pair_by_pair(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 200, (2, 40 * (seed + 1)))
    label = list(range(200))
    for one, other in zip(first, second, strict=True):
        least, greatest = sorted((label[one], label[other]))
        label = [least if each == greatest else each for each in label]
    assert components(200, first, second).tolist() == label


def test_what_no_pair_names_is_alone() -> None:
    nothing = np.empty(0, np.int64)
    assert components(3, nothing, nothing).tolist() == [0, 1, 2]
    assert components(0, nothing, nothing).tolist() == []
