"""A model card as the description of a registered version: MLflow's databases refuse one that is too long."""

import re

LONGEST = 5000
"""Characters, as MLflow's own tables have it: SQLite takes more, PostgreSQL and MySQL don't."""

_FIRST = ("Verdicts", "Scores")
_END = "The whole card is `model_card.md` in the model's folder."


def described(card: str) -> str:
    """The card's title, verdicts and scores and then the rest, cut at a line where it is too long; it ends in where the
    whole card is. Nothing for no card.

    Args:
        card: Markdown, with or without front matter for the hub.
    """
    if not card.strip():
        return ""
    body = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).strip()
    beginning, *sections = re.split(r"^(?=## )", body, flags=re.MULTILINE)
    title, _, words = beginning.partition("\n")
    first = [section for name in _FIRST for section in sections if section.startswith(f"## {name}\n")]
    rest = [words, *(section for section in sections if section not in first)]
    text = "\n\n".join(part.strip() for part in [title, *first, *rest] if part.strip())
    end = f"\n\n{_END}\n"
    if len(text) + len(end) > LONGEST:
        # A line that is too long for itself is cut, too.
        whole = text[: LONGEST - len(end) + 1]
        text = whole[: whole.rfind("\n")] if "\n" in whole else whole[:-1]
    return text.rstrip() + end
