"""Near duplicates: what is planted is found, nothing else is, and the order of the rows says nothing."""

import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.planted_duplicates import KINDS, photographs
from benchmarks.planted_duplicates import views_of as looked_at
from rediffuse.data.duplicates import components, keys, near_duplicates
from rediffuse.data.duplicates.verification import colours, grey, same_colours, similarity
from rediffuse.params import load_params
from tests.data.duplicates.pictures import flat, random_views, smooth_pictures, views_of
from tests.data.planted import ROOT

DEFAULTS = load_params(ROOT / "params.yaml").clean.checks.near_duplicate
HARD = ("crop", "rotated", "50 %", "brightness +", "JPEG 50", "WebP", "noise")
EASY = [kind for kind in KINDS if not kind.startswith(HARD)]


def search(views, least=DEFAULTS.similarity, flips=True):
    return near_duplicates(keys(views), lambda rows: views[rows], similarity=least, flips=flips)


def groups(views, **options):
    return components(len(views), *search(views, **options)[:2])


@pytest.fixture(scope="module", params=[28, 224])
def planted(request):
    """Views of tiles of photographs and of one copy of each, the copies' originals, and their kinds."""
    tiles = [tile for tile in photographs() if np.asarray(tile.convert("L")).std() > 12][
        : 400 if request.param == 28 else 200
    ]
    if request.param == 28:
        tiles = [tile.convert("L").resize((28, 28), Image.Resampling.BOX) for tile in tiles]
    random = np.random.default_rng(0)
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(len(tiles))]
    copies = [KINDS[kind](tile, random) for kind, tile in zip(kinds, tiles, strict=True)]
    return looked_at([*tiles, *copies]), np.array(kinds)


def test_planted_copies_are_found_and_nothing_else(planted) -> None:
    views, kinds = planted
    count = len(kinds)
    found = search(views)
    group = components(len(views), found.first, found.second)
    together = group[count:] == group[:count]
    assert together[np.isin(kinds, EASY)].mean() > 0.97
    assert together[kinds == "exact copy"].all()
    assert together[np.char.startswith(kinds, "crop")].mean() > 0.6
    assert (found.first % count == found.second % count).mean() >= 0.95


def test_pairs_are_sorted_and_each_is_there_once(planted) -> None:
    found = search(planted[0])
    assert (found.first < found.second).all()
    assert (np.diff(found.first * len(planted[0]) + found.second) > 0).all()
    assert (found.similarity >= DEFAULTS.similarity).all()


@pytest.mark.parametrize("seed", range(2))
def test_groups_do_not_depend_on_the_order_of_rows(planted, seed) -> None:
    views = planted[0][: len(planted[0]) - seed]
    order = np.random.default_rng(seed).permutation(len(views))
    straight, shuffled = groups(views), groups(views[order])
    assert as_sets(np.arange(len(views)), straight) == as_sets(order, shuffled)


def as_sets(names: np.ndarray, group: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(names[group == label].tolist()) for label in np.unique(group)}


def test_all_pairs_by_brute_force_are_found_and_none_that_is_not_similar(planted) -> None:
    views = np.concatenate([planted[0][:40], planted[0][len(planted[1]) :][:40]])
    one, two = np.triu_indices(len(views), 1)
    pixels, cells = grey(views), colours(views)
    best = np.full(len(one), -np.inf)
    for pixels_2, cells_2 in ((pixels, cells), (pixels[:, :, ::-1], cells[:, :, ::-1])):
        measured = np.where(same_colours(cells[one], cells_2[two]), similarity(pixels[one], pixels_2[two]), -np.inf)
        best = np.maximum(best, measured)
    group = groups(views)
    brute = best >= DEFAULTS.similarity
    assert brute.sum() > 20
    assert (group[one[brute]] == group[two[brute]]).mean() >= 0.98
    for first, second, alike in zip(*search(views), strict=True):
        # By themselves, with every frame in view, they are as similar or more.
        assert search(views[[first, second]]).similarity[0] >= alike - 1e-3


def test_mirrored_copies_are_found_only_with_flips() -> None:
    pictures = smooth_pictures(40)
    views = np.concatenate([views_of(pictures), views_of(pictures[:, :, ::-1])])
    assert (groups(views) == np.tile(np.arange(40), 2)).all()
    assert (groups(views, flips=False) == np.arange(80)).all()


def test_the_same_picture_in_another_colour_is_another() -> None:
    pictures = smooth_pictures(30)
    red, blue = views_of(pictures, (1, 0.2, 0.2)), views_of(pictures, (0.2, 0.2, 1))
    assert (groups(np.concatenate([red, blue])) == np.arange(60)).all()


def test_equal_views_are_one_group_and_blank_ones_only_with_their_equals() -> None:
    views = np.concatenate([random_views(5), flat(3, 10), flat(2, 200), random_views(5)])
    assert groups(views).tolist() == [0, 1, 2, 3, 4, 5, 5, 5, 8, 8, 0, 1, 2, 3, 4]


def test_nothing_and_one_image_have_no_pairs() -> None:
    for count in (0, 1):
        assert len(search(random_views(1)[:count]).first) == 0


@pytest.fixture(scope="module")
def crowd():
    """Two pictures in 80 versions, and each of these in 8 that hardly differ: more than an image has neighbours."""
    random = np.random.default_rng(0)
    versions = np.repeat(smooth_pictures(2), 80, axis=0) + random.normal(0, 9, (160, 64, 64))
    views = np.repeat(views_of(np.clip(versions, 0, 255).astype(np.uint8)), 8, axis=0)
    views[np.arange(1280), np.arange(1280) % 8 * 100] ^= 1
    return views


def test_many_copies_of_one_picture_are_one_group(crowd) -> None:
    assert (groups(crowd) == np.repeat([0, 640], 640)).all()


def test_even_pairs_of_a_crowd_do_not_depend_on_the_order_of_rows(crowd) -> None:
    order = np.random.default_rng(0).permutation(len(crowd))
    straight, shuffled = search(crowd), search(crowd[order])
    one, two = order[shuffled.first], order[shuffled.second]
    pairs = sorted(zip(np.minimum(one, two).tolist(), np.maximum(one, two).tolist(), shuffled.similarity, strict=True))
    assert pairs == list(zip(*(column.tolist() for column in straight), strict=True))


def test_a_crowd_of_images_all_alike_costs_no_more_an_image() -> None:
    random = np.random.default_rng(0)
    views = np.repeat(random_views(1), 4_000, axis=0)
    views[:, :1024] += random.integers(0, 2, (4_000, 1024)).astype(np.uint8)
    views[:, :1024] &= 0xFE
    views[:, :1024] ^= (random.random((4_000, 1024)) < 0.001).astype(np.uint8)
    asked = 0

    def counted(rows: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(rows)
        assert (np.diff(rows) > 0).all()
        return views[rows]

    start = time.process_time()
    near_duplicates(keys(views), counted, similarity=DEFAULTS.similarity, flips=True)
    assert asked < 30 * len(views)
    assert time.process_time() - start < 30
