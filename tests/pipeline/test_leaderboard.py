"""The names that MLflow knows the scores of a real run by, and its line in the leaderboard."""

import csv

import mlflow

from rediffuse import files
from rediffuse.params import flatten
from tests.repository import Repository


def test_mlflow_and_the_leaderboard_call_a_score_what_the_metrics_file_calls_it(finished: Repository):
    scores = files.read_json(finished.workspace.metrics("evaluate"))
    blocks = {name for name, block in scores.items() if isinstance(block, dict)} - {"protocol", "verdicts"}
    leaves = flatten({name: scores[name] for name in blocks})
    expected = {name: value for name, value in leaves.items() if isinstance(value, int | float)}
    client = mlflow.MlflowClient(f"sqlite:///{finished.workspace.tracking_database}")
    experiment = client.get_experiment_by_name("rediffuse")
    (run,) = client.search_runs([experiment.experiment_id])
    logged = run.data.metrics.items()
    assert {name.replace("/", "."): value for name, value in logged if name.split("/")[0] in blocks} == expected
    swept = files.read_json(finished.workspace.metrics("sweep"))["protocol"]
    noted = {f"protocol.{name}" for name in flatten(scores["protocol"] | {"sweep": swept})}
    assert {tag for tag in run.data.tags if tag.startswith("protocol.")} == noted

    target = finished.workspace.state / "leaderboard.csv"
    command = ("python", "-m", "rediffuse.leaderboard", "--csv", str(target), "--columns", ",".join(expected))
    printed = finished.run(*command, PYTHONPATH="src")
    assert f"{run.info.run_name}" in printed
    (row,) = csv.DictReader(target.open(newline=""))
    assert {name: float(row[name]) for name in expected} == expected
    assert row["parameters"] == str(files.read_json(finished.workspace.metrics("train"))["parameters"])


def test_the_run_has_its_tables_and_the_pictures_they_show(finished: Repository):
    client = mlflow.MlflowClient(f"sqlite:///{finished.workspace.tracking_database}")
    (run,) = client.search_runs([client.get_experiment_by_name("rediffuse").experiment_id])
    listed = {item.path for item in client.list_artifacts(run.info.run_id, "tables")}
    assert listed >= {f"tables/{name}.json" for name in ("scores", "by_class", "confusion", "figures")}
    folder = finished.workspace.tracking_artifacts / run.info.run_id / "artifacts"
    confusion = files.read_json(folder / "tables" / "confusion.json")
    with finished.workspace.plot("confusion").open() as file:
        assert sum(sum(counts) for _, *counts in confusion["data"]) == len(list(csv.reader(file))) - 1
    for _, cell in files.read_json(folder / "tables" / "figures.json")["data"]:
        assert (folder / cell["filepath"]).is_file()
