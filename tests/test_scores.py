"""The table and the verdicts that end a run."""

from rediffuse.scores import table, verdicts

FIDELITY = {"fd": 1.5, "kid": 0.25, "precision": 0.75, "recall": 0.5, "coverage": 0.625}
METRICS = {
    "fidelity": {
        f"{name}{suffix}": value * times
        for name, value in FIDELITY.items()
        for suffix, times in {"": 1, "_low": 0.75, "_high": 1.25, "_floor": 0.5}.items()
    },
    "utility": {"cas_accuracy": 0.8, "gan_test_accuracy": 0.9, "real_accuracy": 0.95},
    "memorisation": {"ct": -1.25, "ct_low": -2.0, "ct_high": -0.5, "ct_floor": 0.125, "membership_auc": 0.53},
    "likelihood": {"bits_per_dim": 3.5, "bits_per_dim_baseline": 5.5, "stderr": 0.25, "method": "ode", "n": 20},
    "verdicts": {
        "fidelity": {"verdict": "not met", "conditions": [{"rule": "fidelity.fd <= 1", "found": "1.5", "met": False}]},
        "class_consistency": {"verdict": "met", "conditions": [{"rule": "a >= 1", "found": "2", "met": True}]},
        "likelihood": {"verdict": "not asked", "conditions": []},
    },
}


def test_every_score_has_a_line_with_its_interval_and_what_real_images_get_where_they_get_anything():
    lines = {line[:28].strip(): line[28:].split() for line in table(METRICS).splitlines()}
    assert lines == {
        "": ["samples", "95", "%", "interval", "real"],
        "FD (lower is better)": ["1.5", "1.125", "to", "1.875", "0.75"],
        "KID (lower is better)": ["0.25", "0.1875", "to", "0.3125", "0.125"],
        "precision": ["0.75", "0.5625", "to", "0.9375", "0.375"],
        "recall": ["0.5", "0.375", "to", "0.625", "0.25"],
        "coverage": ["0.625", "0.4688", "to", "0.7812", "0.3125"],
        "CAS accuracy": ["0.8", "0.95"],
        "GAN-test accuracy": ["0.9", "0.95"],
        "C_T (far below 0: copies)": ["-1.25", "-2", "to", "-0.5", "0.125"],
        "membership AUC": ["0.53"],
        "bits/dim (lower is better)": ["3.5", "5.5"],
    }


def test_columns_stand_below_their_headings():
    heading, *rows = table(METRICS).splitlines()
    assert len({len(row) for row in rows if row.endswith(("0.75", "0.375"))} | {len(heading)}) == 1


def test_what_was_not_computed_has_no_line():
    text = table(METRICS | {"utility": None, "likelihood": None, "memorisation": None})
    for words in ("accuracy", "bits/dim", "C_T", "membership"):
        assert words not in text


def test_a_verdict_has_a_line_with_the_rules_that_produced_it():
    assert verdicts(METRICS).splitlines() == [
        "fidelity            not met     fidelity.fd <= 1 is not so",
        "class consistency   met         a >= 1",
        "likelihood          not asked",
    ]
    assert verdicts({"fidelity": {}}) == ""
