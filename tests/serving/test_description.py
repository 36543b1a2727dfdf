"""The description of a registered version: what counts first, and short enough for every database of MLflow's."""

import pytest

from rediffuse.evaluation.report.model_card import render_card
from rediffuse.serving.description import LONGEST, described
from tests.evaluation.report.conftest import unpainted  # noqa: F401
from tests.evaluation.report.constructed import PARAMS, data_card, metrics, report

END = "\n\nThe whole card is `model_card.md` in the model's folder.\n"


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("classes", [2, 200])
def test_a_card_of_any_length_is_cut_at_a_line_behind_its_verdicts_and_scores(classes: int) -> None:
    names = tuple(f"class number {number}" for number in range(classes))
    card = render_card(report(names), data_card(names), metrics(names), PARAMS)
    text = described(card)
    assert LONGEST == 5000
    assert len(text) <= LONGEST
    assert (len(text) > LONGEST - 1000) is (len(card) > LONGEST)
    assert text.endswith(END)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    title = next(line for line in card.splitlines() if line.startswith("# "))
    assert headings[:3] == [title, "## Verdicts", "## Scores"]
    assert set(text.removesuffix(END).splitlines()) <= set(card.splitlines())


def test_short_cards_are_whole_and_lines_without_an_end_are_cut() -> None:
    assert described("---\ntags: []\n---\n\n# T\n\nwords\n\n## Scores\n\n1\n") == f"# T\n\n## Scores\n\n1\n\nwords{END}"
    assert described("") == ""
    assert described("x" * 9000) == f"{'x' * (LONGEST - len(END))}{END}"
