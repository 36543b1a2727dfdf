"""What a prompt means to a model: the classes that an image is drawn towards, and away from."""

from rediffuse.prompts.terms import Term
from rediffuse.prompts.vocabulary import Vocabulary

__all__ = ["Term", "Vocabulary"]
