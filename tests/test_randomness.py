"""Every random number is a function of its key, and of nothing else."""

import re
from pathlib import Path

import torch

from rediffuse.randomness import generator, seeded_global
from rediffuse.seeds import hashed_seed

SOURCE = Path(__file__).parents[1] / "src"


def draw(*key: object) -> torch.Tensor:
    return torch.randn(64, generator=generator(*key))


def test_the_same_key_draws_the_same_numbers_whatever_was_drawn_before():
    first = draw(0, "noise", 3, 1)
    torch.randn(7)
    draw(0, "noise", 4, 1)
    assert torch.equal(draw(0, "noise", 3, 1), first)


def test_keys_that_differ_anywhere_draw_other_numbers():
    keys = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1), (2**32, "a", 0, 0)]
    drawn = {draw(*key).numpy().tobytes() for key in keys}
    assert len(drawn) == len(keys)


def test_seeds_differ_in_the_low_bits_that_a_cpu_generator_reads():
    seeds = [hashed_seed(0, "a", step) % 2**32 for step in range(2000)]
    assert len(set(seeds)) == 2000


def test_the_key_of_a_number_is_fixed_for_ever():
    # Another value here means that every past experiment can no longer be repeated.
    assert hashed_seed(0, "sample") == 5832056880795752981
    assert hashed_seed(7, "train/noise", step=3, index=1) == 7991684979965982000


def test_a_seeded_block_leaves_the_global_generator_as_it_was():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with seeded_global(0, "weights"):
        inside = torch.randn(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    with seeded_global(0, "weights"):
        assert torch.equal(torch.randn(4), inside)


def test_no_module_draws_from_a_global_generator():
    global_draw = re.compile(
        r"torch\.(rand|randn|randint|randperm|bernoulli|multinomial)\((?!.*generator=)|torch\.randn?_like\("
        r"|np\.random\.(rand|randn|randint|seed|shuffle|permutation|choice|normal|uniform)\("
        r"|^import random|random\.random\("
    )
    offenders = [
        f"{path.name}:{number}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if global_draw.search(line)
    ]
    assert offenders == []
