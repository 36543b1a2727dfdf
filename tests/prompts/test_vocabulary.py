"""A class answers to each of its names, and to none that could mean another."""

import pytest

from rediffuse.prompts import Vocabulary
from rediffuse.prompts.forms import folded, inflected
from rediffuse.prompts.numerals import in_words
from tests.prompts.models import CLOTHES, DIGITS, MNIST


@pytest.mark.parametrize(
    ("vocabulary", "text", "labels"),
    [
        (DIGITS, "7", ("7",)),
        (DIGITS, "SEVEN", ("7",)),
        (DIGITS, "７", ("7",)),
        (DIGITS, "7s", ("7",)),
        (DIGITS, "sevens", ("7",)),
        (DIGITS, "ten", ()),
        (MNIST, "one", ("1 - one",)),
        (MNIST, "1", ("1 - one",)),
        (MNIST, "twenty-one", ("21",)),
        (MNIST, "7", ("007",)),
        (MNIST, "seven", ("007",)),
        (CLOTHES, "t shirt", ("T-shirt/top",)),
        (CLOTHES, "Tops", ("T-shirt/top",)),
        (CLOTHES, "trousers", ("Trouser",)),
        (CLOTHES, "shoes", ("Ankle boot",)),
        # The name itself, then its letters in any case, then the parts, then plurals.
        (Vocabulary(("cat", "Cat", "cats", "dog/cat")), "cat", ("cat",)),
        (Vocabulary(("cat", "Cat", "cats", "dog/cat")), "CAT", ("cat", "Cat")),
        (Vocabulary(("cat", "Cat", "cats", "dog/cat")), "CATS", ("cats",)),
        (Vocabulary(("cat", "Cat", "cats", "dog/cat")), "dogs", ("dog/cat",)),
        (Vocabulary(("7", "8"), {"8": ("seven",)}), "seven", ("8",)),
    ],
)
def test_a_text_may_mean_these_classes(vocabulary: Vocabulary, text: str, labels: tuple[str, ...]) -> None:
    assert vocabulary.meant(text) == labels


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("cat", "cats"),
        ("baby", "babies"),
        ("boy", "boys"),
        ("fox", "foxes"),
        ("finch", "finches"),
        ("tomato", "tomatoes"),
        ("wolf", "wolves"),
        ("knife", "knives"),
        ("sea mouse", "sea mice"),
        ("rose", "roses"),
    ],
)
def test_one_answers_to_many_and_many_to_one(one: str, many: str) -> None:
    assert many in set(inflected(one))
    assert Vocabulary((one,)).meant(many) == (one,)
    if many == f"{one}s":
        assert Vocabulary((many,)).meant(one) == (many,)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (20, "twenty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (1_205, "one thousand two hundred and five"),
        (40_001, "forty thousand and one"),
        (999_999, "nine hundred ninety nine thousand nine hundred and ninety nine"),
    ],
)
def test_a_whole_number_in_words(number: int, words: str) -> None:
    assert in_words(number, " and ") == words
    assert in_words(number) == words.replace(" and ", " ")


def test_a_name_of_nothing_but_hyphens_is_no_empty_one() -> None:
    assert [folded(name) for name in ("-", "__", " ", "A_b -C")] == ["-", "__", "", "a b c"]


@pytest.mark.parametrize(
    ("synonyms", "frames", "message"),
    [
        (
            {"cat": ("pet",), "dog": ("Pet",)},
            (),
            "prompts.synonyms has 'Pet' for 'cat' and for 'dog'; a word may mean one class",
        ),
        ({"cat": ("DOG",)}, (), "prompts.synonyms has 'DOG' for 'cat', but it is the class 'dog'"),
        ({"cta": ("kitty",)}, (), "prompts.synonyms names the class 'cta'; the classes are cat, dog"),
        ({"cat": ("kitty", " ")}, (), "prompts.synonyms.cat has an empty word"),
        ({"cat": ("the",)}, (), "prompts.synonyms.cat has 'the', which only joins other words; take it out"),
        ({}, ("image", ""), "prompts.frames has an empty word"),
        (
            {"cat": ("photo",)},
            ("Photo",),
            "prompts.frames has 'Photo', which prompts.synonyms has for 'cat'; keep one",
        ),
    ],
)
def test_words_that_clash_are_refused_by_their_key(
    synonyms: dict[str, tuple[str, ...]], frames: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^prompts\.") as caught:
        Vocabulary(("cat", "dog"), synonyms, frames)
    assert str(caught.value) == message
