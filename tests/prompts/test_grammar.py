"""A prompt means what docs/prompts.md says, or is refused in one line that says what, where and what is allowed."""

import re
from pathlib import Path

import pytest

from rediffuse.prompts import PromptError, Term, Understood, Vocabulary, understand, written
from tests.prompts.models import CLOTHES, DIGITS, FRAMES, LETTERS, UNLABELLED

KNOWN = "its classes are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and words for any of its images are image, picture"
LEAST, GREATEST = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("vocabulary", "text", "images"),
    [
        (DIGITS, "", [""]),
        (DIGITS, "a picture", [""]),
        (UNLABELLED, "an image", [""]),
        (DIGITS, "a picture of a 3", ["3"]),
        (DIGITS, "3 and 8", ["3 and 8"]),
        (DIGITS, "3 8", ["3 and 8"]),
        (DIGITS, "3 with an 8 & the 1 + two", ["3 and 8 and 1 and 2"]),
        (DIGITS, "(3:1.3)", ["(3:1.3)"]),
        (DIGITS, "(3 and 8 : .5) 1", ["(3:0.5) and (8:0.5) and 1"]),
        (DIGITS, "((3:2) 8:2e-1)", ["(3:0.4) and (8:0.2)"]),
        (DIGITS, "(3:1)", ["3"]),
        (DIGITS, "3 --no 5", ["3 --no 5"]),
        (DIGITS, "--no (5:0.5), 7", ["--no (5:0.5) and 7"]),
        (DIGITS, "3 —no 5", ["3 --no 5"]),
        (DIGITS, "3, 5, 7", ["3", "5", "7"]),
        (DIGITS, "a picture, 3, image, 5,", ["3", "5"]),
        (DIGITS, "{3|5}", ["3", "5"]),
        (DIGITS, "{3|5} {0|1}", ["3 and 0", "3 and 1", "5 and 0", "5 and 1"]),
        (DIGITS, "3 {and 8|}", ["3 and 8", "3"]),
        (DIGITS, "{3|{5|8} 1}", ["3", "5 and 1", "8 and 1"]),
        (DIGITS, "({3|5}:2)", ["(3:2)", "(5:2)"]),
        (DIGITS, "{(3:2)|5} --no 1", ["(3:2) --no 1", "5 --no 1"]),
        (
            DIGITS,
            "{3|5}, (7:1.2) --no {1|2} --seed 4",
            ["3 --no 1", "3 --no 2", "5 --no 1", "5 --no 2", "(7:1.2) --no 1", "(7:1.2) --no 2"],
        ),
        (CLOTHES, "ankle_boot", ["Ankle boot"]),
        (CLOTHES, "a DRESS, ankle-boots, tops", ["Dress", "Ankle boot", "T-shirt/top"]),
        (CLOTHES, '“t-shirt/top” "b:t"', ["T-shirt/top and Ankle boot"]),
        (CLOTHES, '"salt and pepper"', ['"salt and pepper"']),
        (LETTERS, "picture of a", ["a"]),
        (LETTERS, "a and A", ["a and A"]),
        (LETTERS, "and, +", ['"and"', '"+"']),
        (LETTERS, "image", ["image"]),
    ],
)
def test_a_prompt_means_these_images(vocabulary: Vocabulary, text: str, images: list[str]) -> None:
    assert [written(terms) for terms in understand(text, vocabulary).variants] == images


def test_terms_hold_labels_and_weights_and_what_is_refused_comes_last() -> None:
    assert understand("--seed -7 --no (5:0.5)", DIGITS) == Understood(((Term("5", -0.5),),), -7)
    assert understand("(3:1.3) and eight --no 5", DIGITS) == Understood(
        ((Term("3", 1.3), Term("8", 1.0), Term("5", -1.0)),), None
    )


@pytest.mark.parametrize("seed", [LEAST, -1, 0, GREATEST])
def test_a_seed_is_any_whole_number_of_64_bits(seed: int) -> None:
    assert understand(f"3 --seed {seed}", DIGITS).seed == seed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a blurry 3", f"'blurry' at character 3 is no word of this model; {KNOWN}"),
        ("a sevn", f"'sevn' at character 3 is no word of this model; {KNOWN}; did you mean 'seven'?"),
        ("3.", f"'3.' at character 1 is no word of this model; {KNOWN}; did you mean '3'?"),
        ("3 without 5", f"'without' at character 3 is no word of this model; {KNOWN}; did you mean '--no'?"),
        ("3 -seed 5", f"'-seed' at character 3 is no word of this model; {KNOWN}; did you mean '--seed'?"),
        ("3\n\0", f"'\\x00' at character 3 is no word of this model; {KNOWN}"),
        (
            "3 3",
            "'3' stands twice in one image, at characters 1 and 3; keep one, with a weight as in (3:2) for more of it",
        ),
        (
            "{3|5} {5|3}",
            "'3' stands twice in one image, at characters 2 and 10; keep one, with a weight as in (3:2) for more of it",
        ),
        ("3 --no 3", "'3' at character 1 stands after --no, too, at character 8; keep one"),
        ("(3)", "the brackets at character 1 have no weight; write (3:1.3)"),
        ("(3:x)", "the weight at character 4 is 'x'; a number as in (3:1.3) is needed"),
        ("(3:)", "the weight at character 4 is nothing; a number as in (3:1.3) is needed"),
        ("(3:nan)", "the weight at character 4 is 'nan'; a number as in (3:1.3) is needed"),
        (
            "(3:0)",
            "the weight at character 4 is 0; above 0 and at most 10 is allowed, and --no leads away from a class",
        ),
        (
            "(3:1e999)",
            "the weight at character 4 is 1e999; above 0 and at most 10 is allowed, and --no leads away from a class",
        ),
        (
            "((3:5):3)",
            "the weight at character 2 is 15; above 0 and at most 10 is allowed, and --no leads away from a class",
        ),
        ("(3:1,3)", "',' at character 5 stands inside brackets; a weight has a point, as in 1.3"),
        (
            "(3, 5:1.3)",
            "',' at character 3 stands inside brackets; each has its own, as in (3:1.3), (5:1.3), and a weight has a "
            "point, as in 1.3",
        ),
        ("(image:2)", f"the weight in the brackets at character 1 is on no class; {KNOWN}"),
        ("3:2", "':' at character 2 stands outside brackets; a weight is (3:1.3)"),
        ("{3:2|5}", "':' at character 3 stands outside brackets; a weight is (3:1.3), among alternatives {(3:1.3)|5}"),
        ("(3 {5:2)", "':' at character 6 stands outside brackets; a weight is (3:1.3), among alternatives {(3:1.3)|5}"),
        ("(3:2", "the brackets at character 1 are not closed"),
        ("{3|5", "the braces at character 1 are not closed"),
        ("(3|5:2)", "the brackets at character 1 are not closed before '|' at character 3"),
        ("{3 --no 5}", "the braces at character 1 are not closed before '--no' at character 4"),
        ("3)", "')' at character 2 closes nothing; a sign of a name stands in quotes, as in \":)\""),
        ("3|5", "'|' at character 2 stands outside braces; alternatives are {3|5}"),
        ("{3, 5}", "',' at character 3 stands inside braces; alternatives are {3|5}"),
        ("3 {}", "the braces at character 3 are empty; alternatives are {3|5}"),
        ('a "3', 'the quotes " at character 3 are not closed'),
        ('""', f"'' at character 1 is no word of this model; {KNOWN}"),
        ("3 --sed 4", "'--sed' at character 3 is no flag; the flags are --no and --seed; did you mean --seed?"),
        ("3 --ar 1", "'--ar' at character 3 is no flag; the flags are --no and --seed"),
        ("3 --no", f"--no at character 3 has no class behind it; {KNOWN}"),
        ("3 --no 5 --no 7", "--no stands twice, at characters 3 and 10; keep one"),
        ("3 --seed 1 --seed 1", "--seed stands twice, at characters 3 and 12; keep one"),
        ("3 --seed", "--seed at character 3 needs a whole number behind it, not nothing"),
        ("3 --seed 1.5", "--seed at character 3 needs a whole number behind it, not '1.5'"),
        ("3 --seed ١", "--seed at character 3 needs a whole number behind it, not '١'"),
        ("3 --seed 4 a 5", "'a' at character 12 stands after --seed 4; what is drawn stands before the flags"),
        (f"--seed {GREATEST + 1}", f"--seed at character 1 is {GREATEST + 1}; {LEAST} to {GREATEST} is allowed"),
        ("(" * 9, "'(' at character 9 stands 9 deep; 8 are allowed"),
        ("3" * 2001, "the prompt has 2001 characters; at most 2000 are read"),
        ("{0|1|2|3}{4|5|6|7}{8|9}" + "{image|picture}" * 4, "the prompt asks for 512 images; at most 256 are allowed"),
        ("{3|5}" * 300, "the prompt asks for more than 1000000 images; at most 256 are allowed"),
    ],
)
def test_a_mistake_is_told_in_these_words(text: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        understand(text, DIGITS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("vocabulary", "text", "message"),
    [
        (
            LETTERS,
            "a picture of b",
            "'a' at character 1 may be the class or a word between others; for the class write \"a\" in quotes, "
            "or take it out",
        ),
        (
            LETTERS,
            "an image of b",
            "'image' at character 4 may be the class or true of each image; for the class write \"image\" in quotes, "
            "or take it out",
        ),
        (
            Vocabulary(("shirt/top", "crop/top")),
            "top",
            "'top' at character 1 may mean 'shirt/top' or 'crop/top'; write the one that is meant",
        ),
        (
            CLOTHES,
            "boot",
            "'boot' at character 1 is no word of this model; its classes are T-shirt/top, Trouser, Dress, Ankle boot "
            "(shoe, b:t), salt and pepper, and words for any of its images are image, picture; did you mean "
            "'Ankle boot'?",
        ),
        (
            Vocabulary(tuple(f"class {number}" for number in range(40))),
            "zzz",
            "'zzz' at character 1 is no word of this model; its classes are class 0, class 1, class 2, class 3, "
            "class 4, class 5, class 6, class 7, class 8, class 9, class 10, class 11 and 28 more",
        ),
        (
            UNLABELLED,
            "3",
            "'3' at character 1 is no word of this model; it has no classes, and words for any of its images are "
            "image, picture",
        ),
        (
            Vocabulary(tuple(map(str, range(33)))),
            " ".join(map(str, range(33))),
            "an image of 33 classes is asked for; at most 32 are allowed",
        ),
    ],
)
def test_a_word_of_two_meanings_or_none_is_told_with_the_words_of_its_model(
    vocabulary: Vocabulary, text: str, message: str
) -> None:
    with pytest.raises(PromptError) as caught:
        understand(text, vocabulary)
    assert str(caught.value) == message


def test_as_many_images_as_are_allowed_are_made() -> None:
    text = "{0|1|2|3}{4|5|6|7}{8|9}" + "{image|picture}" * 3
    assert len(understand(text, DIGITS).variants) == 256


def test_each_example_of_the_page_is_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1] for line in page.splitlines() if line.startswith("| ")][1:]
    examples = [each.replace("\\|", "|") for row in rows for each in re.findall("`(.+?)`", row)]
    model = Vocabulary((*DIGITS.classes, "salt and pepper", "a:b"), {}, FRAMES)
    counts = [len(understand(example, model).variants) for example in examples]
    assert len(examples) == 19
    assert [count for count in counts if count > 1] == [3, 2, 4, 2, 6]
