"""The tables of a run: what stands in them, and that MLflow reads them as its own."""

import json
import math
from pathlib import Path

from mlflow import MlflowClient

from rediffuse.tracking import tables
from rediffuse.tracking.tables import Table
from rediffuse.workspace import Workspace
from tests.tracking.evaluated import evaluated


def test_a_table_is_what_mlflow_writes_for_the_same_data(workspace: Workspace, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{workspace.tracking_database}")
    experiment = client.create_experiment("tables", artifact_location=(tmp_path / "artifacts").as_uri())
    columns = {"score": ["fd", "größe"], "value": [0.5, 2.0], "low": [0.25, math.nan], "n": [180, 90]}
    ours = Table(list(columns), [list(row) for row in zip(*columns.values(), strict=True)])
    told = client.create_run(experiment).info.run_id
    client.log_table(told, columns, "tables/scores.json")
    assert json.loads(ours.encode()) == json.loads(
        Path(client.download_artifacts(told, "tables/scores.json", str(tmp_path))).read_bytes()
    )


def test_a_score_stands_with_its_interval_its_floor_and_how_it_was_taken() -> None:
    rows = {row[0]: row[1:] for row in tables.scores(evaluated()).rows}
    assert rows == {
        "fidelity.fd": [0.5, 0.4, 0.6, 0.75, "classifier", 180],
        "fidelity.recall": [0.9, None, None, None, "classifier", 180],
        "fidelity.labels.deviation": [0.01, None, None, None, "classifier", 180],
        "by_extractor.nets/my.pt.fd": [3.0, 2.5, 3.5, None, "nets/my.pt", 180],
        "utility.cas_accuracy": [0.9, 0.85, 0.95, 0.98, "classifier", 1437],
        "utility.cas_val_accuracy": [0.875, None, None, None, "classifier", 1437],
        "utility.gan_test_accuracy": [0.9375, None, None, 0.98, "classifier", 1440],
        "utility.real_accuracy": [0.98, None, None, None, "classifier", 1437],
        "utility.augmentation.100.accuracy": [0.96875, None, None, 0.9375, "classifier", 1437],
        "utility.augmentation.100.real_accuracy": [0.9375, None, None, None, "classifier", 1437],
        "utility.augmentation.100.gain": [0.02, -0.01, 0.05, None, "classifier", 1437],
        "memorisation.ct": [-0.5, -1.5, 0.5, 0.25, "classifier", 180],
        "likelihood.bits_per_dim": [4.0, None, None, 6.0, None, 180],
        "likelihood.n": [180, None, None, None, None, 180],
    }


def test_classes_controls_and_verdicts_are_a_row_each() -> None:
    made = tables.score_tables(evaluated())
    assert made["by_class"].columns == ("class", "fd", "fd_low", "fd_high", "images", "asked", "seen", "cas_f1")
    assert made["by_class"].rows[1] == ["1", 2.0, 1.0, 3.0, 20, 0.5, 0.5, 0.9]
    assert made["controls"].columns == ("images", "fd", "recall")
    assert list(made["controls"].rows) == [
        ["generated", 0.5, 0.9],
        ["real", 0.75, None],
        ["noised", 65.0, 0.1],
        ["half_of_train", 0.25, None],
    ]
    assert [row[1:] for row in made["verdicts"].rows] == [
        ["fidelity", "met", "fidelity.fd <= 2 * fidelity.fd_floor", "0.5 <= 1.5", True],
        ["memorisation", "not met", "memorisation.ct >= 0", "-0.5 >= 0", False],
        ["likelihood", "not asked", None, None, None],
    ]


def test_without_classes_utility_or_likelihood_the_rest_is_there() -> None:
    assert list(tables.score_tables({"fidelity": {"fd": 1.0}, "utility": None, "likelihood": None})) == ["scores"]


def test_a_confusion_counts_the_images_of_each_pair(tmp_path: Path) -> None:
    path = tmp_path / "confusion.csv"
    path.write_text("actual,predicted\na,a\na,b\na,b\nb,b\n")
    table = tables.confusion(path)
    assert (table.columns, table.rows) == (("actual", "a", "b"), [["a", 1, 2], ["b", 0, 1]])
