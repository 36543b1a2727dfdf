"""A whole evaluation with invented numbers, each another one, so that a number in a wrong place is seen."""

from typing import Any

import numpy as np
import pandas as pd

from rediffuse.data.card import Card
from rediffuse.evaluation.report.assembly import Made, assemble
from rediffuse.evaluation.report.cost import Cost
from rediffuse.evaluation.report.facts import Identity
from rediffuse.evaluation.report.figures.pairs import suspicious_picture
from rediffuse.evaluation.report.page import Report
from rediffuse.pictures import sheet

HOSTILE = ("cat", "dog & <b>co</b>", "a|b `c` *d* [e](f) $x_1$", "n" * 90, "ÄÖ\nnew line \u202e")
DISTANCES, SHARES = ("fd", "kid", "mmd"), ("precision", "recall", "f1", "density", "coverage")


def estimate(name: str, value: float, error: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - error, f"{name}_high": value + error}


def fidelity(scale: float = 1.0) -> dict[str, Any]:
    values = {
        "fd": (4.1, 0.31, 0.82, 0.12),
        "kid": (0.042, 0.011, -0.013, 0.012),
        "mmd": (0.0171, 0.0023, 0.0062, 0.0012),
        "precision": (0.924, 0.019, 0.889, 0.023),
        "recall": (0.712, 0.017, 0.951, 0.008),
        "f1": (0.804, 0.012, 0.919, 0.011),
        "density": (1.213, 0.04, 1.023, 0.037),
        "coverage": (0.861, 0.021, 0.878, 0.018),
    }
    found: dict[str, Any] = {"fd_full": 0.106, "kid_subset_sd": 0.019}
    for name, (value, error, floor, floor_error) in values.items():
        times = scale if name in DISTANCES else 1.0
        found |= estimate(name, times * value, times * error)
        found |= estimate(f"{name}_floor", times * floor, times * floor_error)
    return found


def controls() -> dict[str, dict[str, float]]:
    rows = {
        "half_of_train": (0.79, -0.0121, 0.0058, 0.893, 0.947, 0.919, 1.001, 0.885),
        "noised": (65.1, 4.4, 0.38, 0.662, 0.115, 0.196, 0.59, 0.228),
        "blurred": (122.0, 8.7, 0.55, 0.645, 0.014, 0.0274, 0.372, 0.094),
        "missing_class": (5.16, 0.121, 0.0293, 0.88, 0.861, 0.87, 1.014, 0.848),
        "shuffled": (301.0, 14.2, 0.78, 0.201, 0.0, 0.0, 0.061, 0.007),
        "uniform": (514.0, 22.9, 0.91, 0.144, 0.0, 0.0, 0.049, 0.003),
    }
    found = {name: dict(zip((*DISTANCES, *SHARES), values, strict=True)) for name, values in rows.items()}
    return found | {"missing_class": found["missing_class"] | {"images": 162}}


def by_class(names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    rows = {}
    for place, name in enumerate(names):
        fd = 3.0 + 0.7 * ((place * 7) % 11)
        rows[name] = {
            "images": 18.0 + place % 3,
            **estimate("fd", fd, 0.9),
            **estimate("fd_floor", 3.4, 0.45),
            **estimate("recall", 0.9 - 0.05 * (place % 4), 0.06),
            **estimate("recall_floor", 0.931, 0.033),
        }
    if len(names) > 2:
        rows[names[-1]] = {"images": 3.0}
    return rows


def metrics(names: tuple[str, ...]) -> dict[str, Any]:
    """The content of metrics/evaluate.json; without utility and whatever is by class where there are no classes."""
    count = max(len(names), 1)
    labels = {
        **estimate("deviation", 0.0131, 0.0042),
        "deviation_floor": 0.0117,
        "by_class": {
            name: {"asked": 1 / count, "seen": (1 + 0.1 * (place % 3 - 1)) / count, "real": 1.02 / count}
            for place, name in enumerate(names)
        },
    }
    utility = {
        **estimate("gan_test_accuracy", 0.9854, 0.0067),
        "gan_test_recall": {name: 0.95 + 0.01 * (place % 5) for place, name in enumerate(names)},
        "gan_test_accuracy_shuffled": 0.1021,
        **estimate("cas_accuracy", 0.9593, 0.0121),
        **estimate("cas_val_accuracy", 0.947, 0.0163),
        **estimate("cas_macro_precision", 0.9613, 0.0133),
        **estimate("cas_macro_recall", 0.9617, 0.0146),
        **estimate("cas_macro_f1", 0.9603, 0.0159),
        "per_class": {
            name: {"precision": 0.91 + 0.01 * (place % 7), "recall": 0.92 + 0.01 * (place % 5), "f1": 0.9151}
            for place, name in enumerate(names)
        },
        **estimate("real_accuracy", 0.9889, 0.0148),
        **estimate("cas_gap", 0.0296, 0.0161),
        "augmentation": {
            "100": {
                **estimate("real_accuracy", 0.871, 0.031),
                **estimate("accuracy", 0.951, 0.022),
                **estimate("gain", 0.08, 0.021),
            },
            "500": {
                **estimate("real_accuracy", 0.961, 0.019),
                **estimate("accuracy", 0.969, 0.017),
                **estimate("gain", 0.008, 0.013),
            },
            "all": {
                **estimate("real_accuracy", 0.987, 0.011),
                **estimate("accuracy", 0.984, 0.012),
                **estimate("gain", -0.003, 0.009),
            },
        },
    }
    memorisation = {
        **estimate("ct", -1.37, 1.9),
        **estimate("ct_floor", 0.21, 1.93),
        **estimate("authenticity", 0.612, 0.026),
        **estimate("authenticity_floor", 0.583, 0.071),
        **estimate("nearest_ratio", 1.08, 0.024),
        **estimate("nearest_ratio_floor", 1.13, 0.067),
        **estimate("copies", 0.0125, 0.0057),
        "copies_floor": 0.0101,
        "pixel_copies": 0,
        "pixel_copies_floor": 1,
        **estimate("membership_auc", 0.521, 0.034),
        **estimate("membership_tpr", 0.0167, 0.014),
        "canaries": {
            "count": 8,
            "repeats": 10,
            **estimate("exposure", 2.9, 1.1),
            "exposure_by_chance": 1.44,
            "extracted": 1,
        },
    }
    protocol = {"extractor": "classifier", "digest": "5da787c9bb", "images": 180, "folds": 8, "neighbours": 3}
    found: dict[str, Any] = {
        "n_samples": 1440,
        "fidelity": fidelity(),
        "by_extractor": {"pca": fidelity(0.03)},
        "controls": controls(),
        "utility": utility if names else None,
        "memorisation": memorisation,
        "likelihood": {
            **estimate("bits_per_dim", 4.2115, 0.0719),
            "bits_per_dim_baseline": 5.873,
            "stderr": 0.0367,
            "method": "ode",
            "n": 180,
        },
        "verdicts": verdicts(),
        "protocol": {
            "fidelity": {**protocol, "reference": "train (1437 images)", "floor": "test (180 images)", "seed": 0},
            "pca": {**protocol, "extractor": "pca", "digest": "0c1d2e"},
            "utility": {"pairs": 1437, "repeats": 3} if names else "none: the data has no classes",
            "likelihood": {"how": "probability-flow ODE, solver ode (tolerance 0.0003)", "images": 180, "seed": 0},
            "memorisation": {"extractor": "classifier", "membership": "180 train and 180 test images"},
        },
    }
    if names:
        found["fidelity"] |= {"labels": labels, "by_class": by_class(names)}
    return found


def verdicts() -> dict[str, Any]:
    def said(verdict: str, *conditions: tuple[str, str, bool | None]) -> dict[str, Any]:
        return {
            "verdict": verdict,
            "conditions": [{"rule": rule, "found": found, "met": met} for rule, found, met in conditions],
        }

    return {
        "fidelity": said("not met", ("fidelity.fd <= 2 * fidelity.fd_floor", "4.1 <= 1.64", False)),
        "diversity": said(
            "not met",
            ("fidelity.recall >= 0.9 * fidelity.recall_floor", "0.712 >= 0.856", False),
            ("fidelity.coverage >= 0.9 * fidelity.coverage_floor", "0.861 >= 0.79", True),
        ),
        "class_consistency": said(
            "met", ("utility.gan_test_accuracy >= 0.9 * utility.real_accuracy", "0.985 >= 0.89", True)
        ),
        "memorisation": said(
            "met",
            ("memorisation.ct >= -3", "-1.37 >= -3", True),
            ("memorisation.membership_auc <= 0.6", "0.521 <= 0.6", True),
        ),
        "likelihood": said("not asked"),
    }


def data_card(names: tuple[str, ...]) -> Card:
    return Card(
        modality="image",
        shape=(1, 8, 8),
        classes=names,
        count=1797,
        class_counts={name: 178 + place % 5 for place, name in enumerate(names)},
        mean=-0.38938,
        std=0.75177,
        source="digits",
        digest="629916cceac3",
        origin="Handwritten <digits>, a|b",
        licence="CC BY 4.0",
    )


SWEPT = {"images": 180, "count": 360, "folds": 2, "extractor": "classifier", "grids": {"ddim": "karras"}}

PARAMS: dict[str, Any] = {
    "seed": 0,
    "reference": {"extractors": ["classifier", "pca"], "repeats": 3},
    "sample": {
        "sampler": "heun",
        "steps": 18,
        "grid": "karras",
        "guidance": 1.5,
        "guidance_reference": "label",
        "count": 1440,
        "batch_size": 96,
        "seed": 7,
    },
    "model": {"name": "unet", "precision": "fp32", "unet": {"width": 32, "multipliers": (1, 2)}},
    "diffusion": {
        "preset": "edm",
        "process": "edm",
        "prediction": "v",
        "weighting": "edm",
        "noise_levels": "lognormal",
        "edm": {"sigma_min": 0.002, "sigma_max": 80.0},
        "lognormal": {"mean": -1.2, "std": 1.1},
    },
    "train": {
        "steps": 2400,
        "batch_size": 128,
        "schedule": "onecycle",
        "lr": 0.002,
        "ema": "constant",
        "ema_decay": 0.998,
        "ema_start": 400,
        "label_drop": 0.1,
    },
}


def made(names: tuple[str, ...], *, swept: bool = True) -> Made:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 1, 8, 8), np.uint8)
    return Made(
        grid=sheet([images[:3]], ["grid"]),
        raw_grid=sheet([images[3:6]], ["raw"]) if swept else None,
        film=sheet([images[6:9]], ["film"]),
        suspicious=suspicious_picture(
            images[:3], [images[9:12], images[12:15], images[15:18]], np.array([0.1, 0.5, 1]), among=1440
        ),
        suspicious_count=3,
        training=pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "lr": [0.1, 0.2, 0.1]}),
        validation=pd.DataFrame({"step": [2, 3], "val_loss": [2.5, 1.5], "val_loss_ema": [2.4, 1.4]}),
        noise_levels=noise_levels(),
        guidance=guidance() if swept else guidance()[:0],
        evaluations=evaluations() if swept else evaluations()[:0],
        sweep_protocol=SWEPT if swept else {},
        confusion=np.eye(len(names), dtype=np.int64) * 17 + draw.integers(0, 2, (len(names),) * 2) if names else None,
        cost=Cost(461_921, 307_200, 31_400_000, 35.0),
        identity=Identity("ab" * 32, "cd" * 16, {"train": "12" * 32, "sample": "34" * 32, "evaluate": "ef" * 32}),
        environment={
            "python": "3.11.9",
            "torch": "2.14.1+cu130",
            "numpy": "2.3.1",
            "cpu": "a processor",
            "system": "Linux",
            "machine": "x86_64",
            "device": "cpu",
            "threads": "2",
        },
    )


def noise_levels() -> pd.DataFrame:
    sigma = np.geomspace(0.04, 60, 12)
    columns: dict[str, np.ndarray] = {"noise_to_signal": sigma}
    for suffix, times in (("_raw", 1.04), ("", 1.0), ("_baseline", 1.9)):
        columns[f"loss{suffix}"] = times * (0.3 + 0.2 * np.cos(np.log(sigma)))
        columns[f"mse{suffix}"] = times * 0.4 * sigma**2 / (1 + sigma**2)
    return pd.DataFrame(columns)


def guidance() -> pd.DataFrame:
    scale, fd = np.array([1.0, 1.5, 2.0, 3.0]), np.array([0.7, 0.62, 0.9, 1.9])
    return pd.DataFrame(
        {
            "guidance": scale,
            "fd": fd,
            "fd_low": fd - 0.1,
            "fd_high": fd + 0.1,
            "precision": [0.9, 0.93, 0.96, 0.98],
            "recall": [0.93, 0.9, 0.82, 0.61],
            "cas_accuracy": [0.95, 0.96, 0.955, 0.93],
            "gan_test_accuracy": [0.96, 0.98, 0.99, 0.995],
        }
    )


def evaluations() -> pd.DataFrame:
    rows = [
        (sampler, steps, evaluated, fd, 0.9 * fd, 1.1 * fd)
        for sampler, points in {
            "ddim": [(5, 5, 9.0), (10, 10, 3.1), (20, 20, 1.4), (40, 40, 0.8)],
            "dpmpp_2m": [(5, 5, 2.7), (10, 10, 0.9), (20, 20, 0.7)],
            "heun": [(3, 5, 14.0), (5, 9, 2.2), (9, 17, 0.8), (18, 35, 0.63)],
        }.items()
        for steps, evaluated, fd in points
    ]
    return pd.DataFrame(rows, columns=["sampler", "steps", "evaluations", "fd", "fd_low", "fd_high"])


def report(names: tuple[str, ...] = ("cat", "dog"), **blocks: Any) -> Report:
    """The report of it; a block of metrics may be replaced, or left out with None."""
    found = metrics(names) | blocks
    return assemble(found, data_card(names), PARAMS, made(names))
