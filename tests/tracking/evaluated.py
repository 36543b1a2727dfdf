"""metrics/evaluate.json in small, of a model that is made up."""

from collections.abc import Sequence
from typing import Any


def evaluated(
    *, fd: float = 0.5, likelihood: str = "ode", classes: Sequence[str] = ("0", "1"), images: int = 180
) -> dict[str, Any]:
    """The blocks of an evaluation, each with a few of its scores."""
    fidelity = {"fd": fd, "fd_low": fd - 0.1, "fd_high": fd + 0.1, "fd_floor": 0.75, "fd_floor_low": 0.7, "recall": 0.9}
    protocol = {
        "extractor": "classifier",
        "digest": "5da787c9",
        "images": images,
        "neighbours": 3,
        "seed": 0,
        "folds": 8,
    }
    return {
        "n_samples": 1440,
        "fidelity": {
            **fidelity,
            "labels": {"deviation": 0.01, "by_class": {name: {"asked": 0.5, "seen": 0.5} for name in classes}},
            "by_class": {name: {"fd": 2.0, "fd_low": 1.0, "fd_high": 3.0, "images": 20} for name in classes},
        },
        "by_extractor": {"nets/my.pt": {"fd": 3.0, "fd_low": 2.5, "fd_high": 3.5}},
        "controls": {"noised": {"fd": 65.0, "recall": 0.1}, "half_of_train": {"fd": 0.25}},
        "utility": {
            "cas_accuracy": 0.9,
            "cas_accuracy_low": 0.85,
            "cas_accuracy_high": 0.95,
            "real_accuracy": 0.98,
            "per_class": {name: {"f1": 0.9} for name in classes},
            "cas_val_accuracy": 0.875,
            "gan_test_accuracy": 0.9375,
            "augmentation": {
                "100": {
                    "accuracy": 0.96875,
                    "real_accuracy": 0.9375,
                    "gain": 0.02,
                    "gain_low": -0.01,
                    "gain_high": 0.05,
                }
            },
        },
        "likelihood": {"bits_per_dim": 4.0, "bits_per_dim_baseline": 6.0, "method": likelihood, "n": 180},
        "memorisation": {"ct": -0.5, "ct_low": -1.5, "ct_high": 0.5, "ct_floor": 0.25},
        "verdicts": {
            "fidelity": {
                "verdict": "met",
                "conditions": [{"rule": "fidelity.fd <= 2 * fidelity.fd_floor", "found": "0.5 <= 1.5", "met": True}],
            },
            "memorisation": {
                "verdict": "not met",
                "conditions": [{"rule": "memorisation.ct >= 0", "found": "-0.5 >= 0", "met": False}],
            },
            "likelihood": {"verdict": "not asked", "conditions": []},
        },
        "protocol": {
            "fidelity": protocol,
            "nets/my.pt": {**protocol, "extractor": "nets/my.pt", "digest": "abcd"},
            "utility": {
                **{"extractor": "classifier", "digest": "5da787c9", "images": 1440, "pairs": 1437},
                **{"repeats": 3, "seed": 0},
            },
            "memorisation": {"extractor": "classifier", "images": 180, "seed": 0},
            "likelihood": {"method": likelihood, "how": "probability-flow ODE", "images": 180, "seed": 0},
        },
    }
