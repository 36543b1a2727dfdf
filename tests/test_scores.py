"""The table that ends a run."""

from rediffuse.scores import table

FIDELITY = {"fd": 1.5, "kid": 0.25, "precision": 0.75, "recall": 0.5}
METRICS = {
    "fidelity": FIDELITY | {f"{name}_floor": value / 2 for name, value in FIDELITY.items()},
    "utility": {"cas_accuracy": 0.8, "gan_test_accuracy": 0.9, "real_accuracy": 0.95},
    "likelihood": {"bits_per_dim": 3.5, "stderr": 0.25, "method": "ode", "n": 20},
}


def test_every_score_has_a_line_with_what_real_images_get_where_they_get_anything():
    lines = {line[:28].strip(): line[28:].split() for line in table(METRICS).splitlines()}
    assert lines == {
        "": ["samples", "real"],
        "FD (lower is better)": ["1.5", "0.75"],
        "KID (lower is better)": ["0.25", "0.125"],
        "precision": ["0.75", "0.375"],
        "recall": ["0.5", "0.25"],
        "CAS accuracy": ["0.8", "0.95"],
        "GAN-test accuracy": ["0.9", "0.95"],
        "bits/dim (lower is better)": ["3.5"],
    }


def test_what_was_not_computed_has_no_line():
    text = table(METRICS | {"utility": None, "likelihood": None})
    assert "accuracy" not in text
    assert "bits/dim" not in text
