"""The table and the verdicts that end a run."""

from rediffuse.scores import table, verdicts
from tests.evaluation.report.constructed import estimate

FIDELITY = {"fd": 1.5, "kid": 0.25, "precision": 0.75, "recall": 0.5, "coverage": 0.625}
LACKING = {"rule": "m.x <= 1", "found": "this run has no m.x", "met": None}
LONG = {
    "rule": "memorisation.authenticity >= 0.9 * memorisation.authenticity_floor",
    "found": "0.25 >= 0.45",
    "met": False,
}
METRICS = {
    "fidelity": {
        f"{name}{suffix}": value * times
        for name, value in FIDELITY.items()
        for suffix, times in {"": 1, "_low": 0.75, "_high": 1.25, "_floor": 0.5}.items()
    },
    "utility": {
        **estimate("cas_accuracy", 0.8, 0.1),
        **estimate("gan_test_accuracy", 0.9, 0.05),
        "real_accuracy": 0.95,
    },
    "memorisation": {**estimate("ct", -1.25, 0.75), "ct_floor": 0.125, **estimate("membership_auc", 0.53, 0.25)},
    "likelihood": {**estimate("bits_per_dim", 3.5, 0.5), "bits_per_dim_baseline": 5.5},
    "verdicts": {
        "fidelity": {
            "verdict": "not met",
            "conditions": [{"rule": "fidelity.fd <= 1", "found": "1.5 <= 1", "met": False}],
        },
        "memorisation": {"verdict": "not asked", "conditions": [LACKING, LONG]},
        "class_consistency": {"verdict": "met", "conditions": [{"rule": "a >= 1", "found": "2 >= 1", "met": True}]},
        "likelihood": {"verdict": "not asked", "conditions": []},
    },
}


def test_every_score_has_a_line_with_its_interval_and_what_real_images_get_where_they_get_anything():
    *rows, last = table(METRICS).splitlines()
    assert last == "* by mean and variance of the training images alone"
    lines = {line[:28].strip(): line[28:].split() for line in rows}
    assert lines == {
        "": ["samples", "95", "%", "interval", "real"],
        "FD (lower is better)": ["1.5", "1.125", "to", "1.875", "0.75"],
        "KID (lower is better)": ["0.25", "0.1875", "to", "0.3125", "0.125"],
        "precision": ["0.75", "0.5625", "to", "0.9375", "0.375"],
        "recall": ["0.5", "0.375", "to", "0.625", "0.25"],
        "coverage": ["0.625", "0.4688", "to", "0.7812", "0.3125"],
        "CAS accuracy": ["0.8", "0.7", "to", "0.9", "0.95"],
        "GAN-test accuracy": ["0.9", "0.85", "to", "0.95", "0.95"],
        "C_T (below 0: copies)": ["-1.25", "-2", "to", "-0.5", "0.125"],
        "membership AUC": ["0.53", "0.28", "to", "0.78"],
        # Not of real images, which the last line says.
        "bits/dim (lower is better)": ["3.5", "3", "to", "4", "5.5*"],
    }


def test_columns_stand_below_their_headings():
    heading, *rows = table(METRICS).splitlines()
    assert len({len(row) for row in rows if row.endswith(("0.75", "0.375"))} | {len(heading)}) == 1


def test_what_was_not_computed_has_no_line():
    text = table(METRICS | {"utility": None, "likelihood": None, "memorisation": None})
    for words in ("accuracy", "bits/dim", "C_T", "membership"):
        assert words not in text


def test_a_verdict_stands_beside_its_rules_each_on_lines_of_at_most_100_columns():
    assert verdicts(METRICS).splitlines() == [
        "fidelity            not met     fidelity.fd <= 1 (not so: 1.5 <= 1)",
        "memorisation        not asked   m.x <= 1 (this run has no m.x)",
        "                                memorisation.authenticity >= 0.9 * memorisation.authenticity_floor",
        "                                  (not so: 0.25 >= 0.45)",
        "class consistency   met         a >= 1",
        "likelihood          not asked",
    ]
