"""The model card: front matter that the hub reads, and Markdown in which a user's names are text."""

from dataclasses import replace
from typing import Any

from ruamel.yaml import YAML

from rediffuse.evaluation.report.answers import NO_PROOF
from rediffuse.evaluation.report.model_card import escaped, render_card
from rediffuse.evaluation.report.page import Report
from tests.evaluation.report.constructed import HOSTILE, PARAMS, data_card, metrics


def card_of(report: Report, **changes: Any) -> str:
    return render_card(report, replace(data_card(HOSTILE), **changes), metrics(HOSTILE), PARAMS)


def front(text: str) -> dict[str, Any]:
    opening, matter, _ = text.split("---\n", 2)
    assert opening == ""
    return dict(YAML(typ="safe").load(matter))


def test_the_front_matter_is_yaml_with_tags_and_metrics_and_nothing_of_the_data(whole: Report) -> None:
    found = front(card_of(whole))
    # The data's licence is not the model's, and its name is none of the hub's data sets.
    assert set(found) == {"library_name", "pipeline_tag", "tags", "metrics"}
    assert {"diffusion", "edm"} <= set(found["tags"])
    assert found["metrics"] == ["fd", "kid", "precision", "recall", "f1", "density", "coverage", "accuracy"]


def test_every_row_of_a_table_has_as_many_cells_as_its_headings(whole: Report) -> None:
    columns = 0
    for line in card_of(whole).splitlines():
        cells = line.replace(r"\|", "").count("|")
        if not line.startswith("|"):
            columns = 0
        elif not columns:
            columns = cells
        assert cells == columns or not line.startswith("|"), line


def test_scores_come_with_interval_and_floor_and_verdicts_with_their_rules(whole: Report) -> None:
    text = card_of(whole)
    for expected in (
        r"| Fréchet distance | 4.1 \[3.79 to 4.41\] | 0.82 \[0.7 to 0.94\] |",
        r"| Fidelity | not met | fidelity.fd \<= 2 \* fidelity.fd\_floor (not so: 4.1 \<= 1.64) |",
        NO_PROOF,
        "| licence | CC BY 4.0 |",
        "images: 180; folds: 8; neighbours: 3; reference: train (1437 images)",
        "| noised | 65.1 | 4.4 |",
        "make verify",
        "629916cceac3",
        "ab" * 32,
    ):
        assert expected in text, expected


def test_without_utility_it_says_why(whole: Report) -> None:
    assert "Use to a classifier" not in card_of(whole)
    reason = "none: the data has no classes"
    assert f"Use to a classifier: {reason}." in card_of(replace(whole, utility=[], no_utility=reason))


def test_a_name_is_text_in_markdown() -> None:
    assert escaped("a|b `c` *d* [e](f) <b>\nx_1") == r"a\|b \`c\` \*d\* \[e\](f) \<b\> x\_1"


def test_no_name_of_a_class_becomes_markup_and_the_card_repeats(whole: Report) -> None:
    text = card_of(whole)
    assert "<b>" not in text.replace(r"\<b\>", "")
    assert "\u202e" not in text
    assert card_of(whole) == text
