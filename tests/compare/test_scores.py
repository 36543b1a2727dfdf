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


def test_every_row_has_as_many_cells_as_the_table_has_headings():
    assert {len(row) for row in rows(comparison())} == {len(HEADINGS)}


def test_scores_that_were_not_taken_are_left_out_and_not_made_up():
    unlabelled = scores_of({**evaluated(1.5), "utility": None}, {"evaluations": 35.0})
    assert unlabelled == {
        "fd": 1.5, "kid": 0.5, "precision": 0.75, "recall": 0.5, "f1": 0.6, "fd_floor": 0.75, "evaluations": 35.0,
    }  # fmt: skip
    assert "cas_accuracy" not in real_scores({**evaluated(1.5), "utility": None})
