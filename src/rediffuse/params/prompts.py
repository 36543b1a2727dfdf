"""The section `prompts`: the words that a model understands beside the names of its classes."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from rediffuse.params.sections import Section, as_tuple
from rediffuse.prompts import check_words


def _as_text(value: object) -> object:
    """A number that was written without quotes, as `dvc exp run -S` does, as the word that it is."""
    return str(value) if type(value) is int else value


def _by_class(value: object) -> object:
    """Words of classes by name, also where a name was written without quotes."""
    if not isinstance(value, dict):
        return value
    named = {_as_text(key): words for key, words in value.items()}
    if len(named) < len(value):
        raise ValueError("prompts.synonyms names a class twice, once in quotes and once without; keep one")
    return named


Word = Annotated[str, BeforeValidator(_as_text), Field(max_length=200)]
Words = Annotated[tuple[Word, ...], BeforeValidator(as_tuple)]


class PromptsParams(Section):
    synonyms: Annotated[dict[str, Words], BeforeValidator(_by_class)]
    frames: Words

    @model_validator(mode="after")
    def _clear(self) -> Self:
        check_words(self.synonyms, self.frames)
        return self
