"""What a text asks a model of classes for: the grammar of prompts (docs/prompts.md), which ignores no word in silence.

`lexer` cuts the text into tokens, `parser` makes their tree, `reading` finds the classes behind the words by the
`vocabulary`, `meaning` makes the images' terms of it, and `writing` is the way back.
"""

from rediffuse.prompts.errors import PromptError
from rediffuse.prompts.meaning import MOST_TERMS, MOST_VARIANTS, Understood, understand
from rediffuse.prompts.parser import DEEPEST, GREATEST_WEIGHT, LONGEST
from rediffuse.prompts.terms import Term
from rediffuse.prompts.vocabulary import Vocabulary, check_words
from rediffuse.prompts.writing import written

__all__ = [
    "DEEPEST",
    "GREATEST_WEIGHT",
    "LONGEST",
    "MOST_TERMS",
    "MOST_VARIANTS",
    "PromptError",
    "Term",
    "Understood",
    "Vocabulary",
    "check_words",
    "understand",
    "written",
]
