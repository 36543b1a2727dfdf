"""Pictures of one template, alike in their coarse patterns and not in their details, hide no copy among them."""

import numpy as np
import pytest

from rediffuse.data.duplicates import keys, near_duplicates
from rediffuse.data.duplicates.candidates import Neighbourhoods
from rediffuse.data.duplicates.keys import patterns
from rediffuse.data.duplicates.verification import smoothing
from tests.data.duplicates.pictures import views_of

CHECKERED = np.indices((8, 8)).sum(axis=0) % 2 * 2 - 1


def template(seed: int) -> np.ndarray:
    """A smooth picture, 32×32."""
    smooth = smoothing(32, 2)
    picture = smooth @ np.random.default_rng(seed).normal(size=(32, 32)) @ smooth
    return (picture - picture.mean()) / picture.std() * 15 + 120


def card(picture: np.ndarray, place: int) -> np.ndarray:
    """The picture with a fine checkered square at one of 16 places: no coarse pattern shows it."""
    y, x = divmod(place, 4)
    changed = picture.copy()
    changed[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 100 * CHECKERED
    return changed


def pairs(views: np.ndarray) -> list[tuple[int, int]]:
    found = near_duplicates(keys(views), lambda rows: views[rows], similarity=0.75, flips=True)
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


def seen(pictures: list[np.ndarray]) -> np.ndarray:
    return views_of(np.clip(np.rint(pictures), 0, 255).astype(np.uint8))


def shaded(picture: np.ndarray, amount: float) -> np.ndarray:
    """The picture, brighter towards a corner: what coarse patterns show, and similarity forgives."""
    slope = np.linspace(-amount, amount, 32)
    return picture + np.add.outer(slope, slope)


def test_cards_nearer_by_their_patterns_do_not_hide_a_copy() -> None:
    picture, copy = template(3), shaded(template(3), 1.2)
    cards = [card(picture, place) for place in range(6)] + [card(copy, place) for place in range(6, 12)]
    assert pairs(seen([picture, copy])) == [(0, 1)]
    assert pairs(seen([picture, copy, *cards])) == [(0, 1)]


def forty(seed: int) -> np.ndarray:
    """Forty cards of one template in different shades, told apart by two checkered squares; 15 and 24 have the same."""
    picture = template(seed)
    places = [(one, two) for one in range(16) for two in range(one)]
    chosen = np.random.default_rng(seed).permutation(len(places))[:40]
    chosen[24] = chosen[15]
    cards = [card(card(picture, places[number][0]), places[number][1]) for number in chosen]
    return seen([shaded(each, 0.12 * number) for number, each in enumerate(cards)])


@pytest.mark.parametrize("seed", range(3))
def test_of_forty_cards_of_one_template_the_two_copies_are_found(seed: int) -> None:
    views = forty(seed)
    known = patterns(keys(views))
    nearest = Neighbourhoods(known, 6, flips=True).nearest(known, 4, 16.0)
    assert 24 not in nearest[15]
    assert 15 not in nearest[24]
    assert pairs(views) == [(15, 24)]


def test_copies_found_among_cards_do_not_depend_on_the_order_of_rows() -> None:
    views = np.concatenate([forty(seed) for seed in range(3)])
    order = np.random.default_rng(0).permutation(len(views))
    shuffled = sorted(tuple(sorted((int(order[one]), int(order[two])))) for one, two in pairs(views[order]))
    assert shuffled == pairs(views) == [(15, 24), (55, 64), (95, 104)]
