"""What is written is understood as it was meant, and whatever is typed has a meaning or a line that says why not."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rediffuse.prompts import (
    MOST_TERMS,
    MOST_VARIANTS,
    PromptError,
    Term,
    Understood,
    Vocabulary,
    understand,
    written,
)
from tests.prompts.models import CLOTHES, DIGITS, FRAMES, LETTERS, MNIST

WORDS = ["a", "A", "and", "&", "the", "of", "image", "3", "03", "three", "cat", "cats", "--no", "—no", "-", "--seed 4"]
SIGNS = st.text("aA3 _-—/\\\"“”(){}|,:.'&+\n\u00a0éß", max_size=6)
PIECES = st.sampled_from([*WORDS, "(", ")", "{", "}", "|", ",", ":1.5", ":", '"', "“", "”", "\\", "\n", "\0", "9" * 30])
NAMES = st.one_of(SIGNS, st.text(max_size=4), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join))
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(PIECES, max_size=40).map(" ".join),
    st.lists(PIECES, max_size=60).map("".join),
)
WEIGHTS = st.floats(0, 10, exclude_min=True) | st.sampled_from([1.0, 2.0, 10.0, 5e-324])


@st.composite
def spoken(draw: st.DrawFn) -> tuple[Vocabulary, tuple[Term, ...]]:
    """A vocabulary of any classes, and terms of some of them."""
    classes = draw(st.lists(NAMES, unique=True, max_size=6))
    labels = draw(st.permutations(classes))[: draw(st.integers(0, len(classes)))]
    towards = draw(st.integers(0, len(labels)))
    weights = [draw(WEIGHTS) * (1 if row < towards else -1) for row in range(len(labels))]
    return Vocabulary(tuple(classes), {}, FRAMES), tuple(map(Term, labels, weights))


@given(spoken())
@settings(max_examples=300, deadline=None)
@example((Vocabulary(("3", "8", "3 and 8", "3 8")), (Term("3"), Term("8"))))
@example((Vocabulary(("_ x", "x")), (Term("_ x"), Term("x"))))
def test_what_is_written_is_understood_as_it_was_meant(each: tuple[Vocabulary, tuple[Term, ...]]) -> None:
    vocabulary, terms = each
    text = written(terms)
    assert understand(text, vocabulary) == Understood((terms,), None)
    assert written(understand(text, vocabulary).variants[0]) == text


def outcome(text: str, vocabulary: Vocabulary) -> tuple[Understood | None, str]:
    try:
        return understand(text, vocabulary), ""
    except PromptError as error:
        return None, str(error)


@given(
    TEXTS,
    st.sampled_from([DIGITS, CLOTHES, LETTERS, MNIST]),
)
@settings(max_examples=400, deadline=None)
@example("," * 2000, DIGITS)
@example("{|" * 8 + "}" * 8, DIGITS)
@example("{a|}" * 500, DIGITS)
@example('"' * 1999, DIGITS)
@example("a " * 1000, LETTERS)
def test_any_text_has_a_meaning_or_one_line_that_says_why_not(text: str, vocabulary: Vocabulary) -> None:
    understood, refusal = outcome(text, vocabulary)
    assert refusal.isprintable()
    assert len(refusal) < 500
    if understood is None:
        assert refusal
        return
    assert 1 <= len(understood.variants) <= MOST_VARIANTS
    for terms in understood.variants:
        assert len(terms) <= MOST_TERMS
        assert {term.label for term in terms} <= set(vocabulary.classes)
        assert all(0 < abs(term.weight) <= 10 for term in terms)
        assert understand(written(terms), vocabulary).variants == (terms,)


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ((), ""),
        ((Term("3"),), "3"),
        ((Term("Ankle boot"), Term("T-shirt/top", 1.3)), "Ankle boot and (T-shirt/top:1.3)"),
        ((Term("3", 2.0), Term("5", -1.0), Term("8", -0.5)), "(3:2) --no 5 and (8:0.5)"),
        ((Term('a "b" \\'), Term("salt and pepper"), Term("--no"), Term("x:y")), None),
    ],
)
def test_a_text_is_as_plain_as_it_can_be(terms: tuple[Term, ...], text: str | None) -> None:
    expected = text if text is not None else r'"a \"b\" \\" and "salt and pepper" and "--no" and "x:y"'
    assert written(terms) == expected


@pytest.mark.parametrize(
    "terms",
    [
        (Term("3", 0.0),),
        (Term("3", math.nan),),
        (Term("3", -10.5),),
        (Term("3", -1.0), Term("5")),
        (Term("3"), Term("3", -1.0)),
        tuple(Term(str(number)) for number in range(MOST_TERMS + 1)),
    ],
)
def test_what_no_prompt_says_is_not_written(terms: tuple[Term, ...]) -> None:
    with pytest.raises(ValueError, match=r"can be written|stand before"):
        written(terms)
