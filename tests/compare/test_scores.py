"""The numbers of a comparison, and their table."""

from rediffuse.compare.scores import HEADINGS, Comparison, markdown, real_scores, rows, scores_of
from tests.compare.conftest import evaluated


def comparison() -> Comparison:
    return Comparison(
        families={
            "edm": scores_of(evaluated(1.5, likelihood={"bits_per_dim": 2.345}), {"evaluations": 35.0}),
            "flow": None,
        },
        real=real_scores(evaluated(1.5)),
        made={"train.steps": 40},
        seconds={"edm": {"train": 12.3}},
    )


def test_the_table_has_a_row_a_preset_and_one_of_real_images():
    assert markdown(comparison()).splitlines() == [
        "| preset | FD | KID | precision | recall | F1 | CAS | GAN-test | bits/dim | NFE | train, s | sample, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| edm | 1.5 | 0.5 | 0.750 | 0.500 | 0.600 | 0.800 | 0.900 | 2.35 | 35 | 12 |  |",
        "| flow | failed |  |  |  |  |  |  |  |  |  |  |",
        "| real images | 0.75 | 0.25 | 0.375 | 0.250 | 0.300 | 0.950 | 0.950 |  |  |  |  |",
    ]


def test_fd_and_cas_have_their_intervals_beside_them_where_these_were_taken():
    found = evaluated(1.5)
    found["fidelity"] |= {"fd_low": 1.25, "fd_high": 1.875, "fd_floor_low": 0.5, "fd_floor_high": 1.0}
    found["utility"] |= {"cas_accuracy_low": 0.75, "cas_accuracy_high": 0.85, "real_accuracy_low": 0.9}
    found["utility"] |= {"real_accuracy_high": 0.97}
    scores = scores_of(found, {"evaluations": 35.0})
    assert {name: scores[name] for name in scores if name.endswith(("_low", "_high"))} == {
        "fd_low": 1.25, "fd_high": 1.875, "cas_accuracy_low": 0.75, "cas_accuracy_high": 0.85,
    }  # fmt: skip
    shown = Comparison(families={"edm": scores}, real=real_scores(found), made={}, seconds={})
    cas = HEADINGS.index("CAS")
    assert [(row[1], row[cas]) for row in rows(shown)] == [
        ("1.5 (1.25–1.88)", "0.800 (0.750–0.850)"),
        ("0.75 (0.5–1)", "0.950 (0.900–0.970)"),
    ]


def test_every_row_has_as_many_cells_as_the_table_has_headings():
    assert {len(row) for row in rows(comparison())} == {len(HEADINGS)}


def test_scores_that_were_not_taken_are_left_out_and_not_made_up():
    unlabelled = scores_of({**evaluated(1.5), "utility": None}, {"evaluations": 35.0})
    assert unlabelled == {
        "fd": 1.5, "kid": 0.5, "precision": 0.75, "recall": 0.5, "f1": 0.6, "fd_floor": 0.75, "evaluations": 35.0,
    }  # fmt: skip
    assert "cas_accuracy" not in real_scores({**evaluated(1.5), "utility": None})
