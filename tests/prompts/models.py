"""Vocabularies of models that tests speak to."""

from rediffuse.prompts import Vocabulary

FRAMES = ("image", "picture")
DIGITS = Vocabulary(tuple("0123456789"), {}, FRAMES)
CLOTHES = Vocabulary(
    ("T-shirt/top", "Trouser", "Dress", "Ankle boot", "salt and pepper"), {"Ankle boot": ("shoe", "b:t")}, FRAMES
)
LETTERS = Vocabulary(("a", "b", "A", "and", "+", "image"), {}, FRAMES)
MNIST = Vocabulary(("0 - zero", "1 - one", "21", "007"), {}, ())
UNLABELLED = Vocabulary((), {}, FRAMES)
