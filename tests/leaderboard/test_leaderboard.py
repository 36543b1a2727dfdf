"""The leaderboard of stores that are written here, run by run, by the names that tracking gives."""

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

from rediffuse.leaderboard import names
from rediffuse.leaderboard.__main__ import main
from rediffuse.tracking.names import score_tags, summary_names
from tests.tracking.evaluated import evaluated

CHECKOUT = Path(__file__).parents[2]
MORNING = 1_790_000_000_000  # 2026-09-21 13:33:20 UTC, in milliseconds
DIGITS = "digits-train", "0123456789abcdef-aaaabbbbccccdddd"
Add = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout that the command runs in."""
    path = tmp_path / "checkout"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def add(folder: Path, empty_database: Path, tmp_path: Path) -> Add:
    """Adds a run to the checkout's store; its id is returned."""
    shutil.copy(empty_database, folder / "mlflow.db")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("rediffuse", artifact_location=(tmp_path / "artifacts").as_uri())
    added: list[str] = []

    def add_run(
        name: str,
        metrics: dict[str, Any] | None = None,
        *,
        key: str = "",
        status: str = "FINISHED",
        data: tuple[str, str] = DIGITS,
        told_protocol: bool = True,
        values: dict[str, float] | None = None,
        params: dict[str, str] | None = None,
        more_tags: dict[str, str] | None = None,
    ) -> str:
        started = MORNING + 60_000 * len(added)
        run_id: str = client.create_run(experiment, start_time=started, run_name=name).info.run_id
        numbers = summary_names("evaluate", metrics or {}) | {"sample/evaluations": 35.0, "train/final_parameters": 9e5}
        tags = {"rediffuse.key": key or f"{len(added):064d}", "mlflow.source.git.commit": "c0ffee"}
        tags |= score_tags(metrics) if metrics and told_protocol else {}
        client.log_batch(
            run_id,
            metrics=[Metric(each, value, started, 0) for each, value in {**numbers, **(values or {})}.items()],
            params=[
                Param(each, text)
                for each, text in {"diffusion.preset": "edm", "model.name": "unet", **(params or {})}.items()
            ],
            tags=[RunTag(each, text) for each, text in {**tags, **(more_tags or {})}.items()],
        )
        client.log_inputs(run_id, [DatasetInput(Dataset(*data, source_type="local", source="{}"), [])])
        client.set_terminated(run_id, status) if status != "RUNNING" else None
        added.append(run_id)
        return run_id

    return add_run


def table(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> str:
    """What the command prints."""
    assert main(list(options)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_a_lower_distance_and_a_higher_recall_come_first(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, fd, recall in (("middle", 0.5, 0.8), ("worst", 0.75, 0.9), ("best", 0.25, 0.7)):
        metrics = evaluated(fd=fd)
        metrics["fidelity"]["recall"] = recall
        add(name, metrics)
    for options, expected in (
        ((), ["best", "middle", "worst"]),
        (("--metric", "fidelity/recall"), ["worst", "middle", "best"]),
        (("--metric", "fidelity.recall", "--better", "lower"), ["best", "middle", "worst"]),
    ):
        table(capsys, *options, "--csv", "runs.csv")
        assert [row["run"] for row in rows(folder / "runs.csv")] == expected
        assert [row["rank"] for row in rows(folder / "runs.csv")] == ["1", "2", "3"]


def test_only_a_run_whose_interval_ends_before_the_best_ones_begins_is_unmarked(
    add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    # Their intervals reach 0.1 to either side.
    for name, fd in (("best", 0.25), ("touches", 0.4), ("apart", 0.625)):
        add(name, evaluated(fd=fd))
    bare = evaluated(fd=0.5)
    bare["fidelity"] = {"fd": 0.5}
    add("bare", bare)
    printed = table(capsys, "--markdown")
    cells = [line[2:].split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    marks = {run: mark for _, mark, run, *_ in cells}
    assert marks == {"best": "", "touches": "≈", "bare": "?", "apart": ""}
    assert "≈  the interval overlaps that of the best of its group: no difference is shown" in printed
    assert "?  without an interval nobody knows" in printed


def test_runs_of_other_data_another_extractor_or_size_are_ranked_apart_and_an_unknown_protocol_last(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    another = evaluated(fd=0.1)
    another["protocol"]["fidelity"]["digest"] = "ffff"
    seeded = evaluated(fd=0.45)
    # Other draws of the same, and what only recall depends on.
    seeded["protocol"]["fidelity"] |= {"seed": 7, "neighbours": 9}
    add("old", evaluated(fd=0.01), told_protocol=False)
    add("first", evaluated(fd=0.5))
    add("seeded", seeded)
    add("extractor", another)
    add("size", evaluated(fd=0.2, images=90))
    add("data", evaluated(fd=0.3), data=("digits-train", "ffff456789abcdef-aaaabbbbccccdddd"))
    printed = table(capsys, "--csv", "runs.csv")
    found = [(row["group"], row["rank"], row["run"]) for row in rows(folder / "runs.csv")]
    assert found[:2] == [("1", "1", "seeded"), ("1", "2", "first")]
    assert sorted(name for _, rank, name in found[2:5] if rank == "1") == ["data", "extractor", "size"]
    assert found[5] == ("5", "1", "old")
    assert rows(folder / "runs.csv")[5]["protocol"] == "unknown"
    headings = [line for line in printed.splitlines() if "data digits" in line]
    assert headings[0] == "data digits 01234567, extractor classifier 5da787c9, n = 180"
    assert "data digits ffff4567, extractor classifier 5da787c9, n = 180" in headings
    assert headings[4] == "protocol unknown, data digits 01234567"
    assert "5 groups: their scores were taken from other data or otherwise; compare within one" in printed
    # To recall the number of neighbours matters.
    table(capsys, "--metric", "fidelity.recall", "--csv", "runs.csv")
    groups = {row["run"]: row["group"] for row in rows(folder / "runs.csv")}
    assert groups["seeded"] != groups["first"]


def test_a_csv_file_holds_every_digit_and_the_same_bytes_each_time(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = add("a, b", evaluated(fd=0.123456789), key="abcd", params={"train.lr": "0.002"})
    for name in ("first.csv", "second.csv"):
        table(capsys, "--csv", name, "--columns", "train.lr,memorisation.ct,utility/cas_accuracy")
    expected = (
        "group,protocol,data,extractor,digest,images,rank,overlaps_best,run,run_id,status,preset,network,parameters,"
        "fidelity.fd,fidelity.fd_low,fidelity.fd_high,fidelity.fd_floor,train.lr,memorisation.ct,utility.cas_accuracy,"
        "evaluations,key,commit,started\n"
        f'1,known,digits {DIGITS[1]},classifier,5da787c9,180,1,,"a, b",{run_id},FINISHED,'
        f"edm,unet,900000,0.123456789,{0.123456789 - 0.1!r},{0.123456789 + 0.1!r},0.75,0.002,-0.5,0.9,"
        "35,abcd,c0ffee,2026-09-21T14:13:20Z\n"
    )
    assert (folder / "first.csv").read_bytes() == expected.encode() == (folder / "second.csv").read_bytes()


def test_of_runs_with_one_key_the_newest_finished_one_counts_and_all_shows_the_others(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, status in (("older", "FINISHED"), ("newer", "FINISHED"), ("killed", "RUNNING"), ("broken", "FAILED")):
        add(name, evaluated(), key="same", status=status)
    assert "status" not in table(capsys, "--csv", "runs.csv")
    assert [row["run"] for row in rows(folder / "runs.csv")] == ["newer"]
    assert "running" in table(capsys, "--all", "--csv", "runs.csv")
    assert {row["run"]: row["status"] for row in rows(folder / "runs.csv")} == {
        "older": "FINISHED",
        "newer": "FINISHED",
        "killed": "RUNNING",
        "broken": "FAILED",
    }


def test_runs_with_one_key_that_made_or_scored_something_else_all_count(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weighed = evaluated()
    weighed["protocol"]["nets/my.pt"]["digest"] = "ffff"
    add("plain", evaluated(), key="same", more_tags={"out.models/denoiser.safetensors": "aa"})
    add("again", evaluated(), key="same", more_tags={"out.models/denoiser.safetensors": "aa"})
    add("data", evaluated(), key="same", data=("digits-train", "ffff456789abcdef-aaaabbbbccccdddd"))
    add("weights", weighed, key="same", more_tags={"out.models/denoiser.safetensors": "aa"})
    add("machine", evaluated(), key="same", more_tags={"out.models/denoiser.safetensors": "bb"})
    table(capsys, "--csv", "runs.csv")
    assert {row["run"] for row in rows(folder / "runs.csv")} == {"again", "data", "weights", "machine"}


def test_a_run_without_the_score_is_named_and_one_that_is_no_number_is_not_ranked(
    add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    add("whole", evaluated())
    add("empty")
    add("nan", {"fidelity": {"fd": float("nan")}})
    printed = table(capsys)
    assert "fidelity.fd, lower is better; 1 run\n" in printed
    assert "without fidelity.fd: nan, empty\n" in printed


def test_the_scores_of_any_stage_can_be_ranked_and_a_curve_is_no_score(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, loss in (("slow", 0.5), ("fast", 0.25)):
        values = {"train/final_val_loss": loss, "train/val_loss": 9.0, "sweep/guidance/1.5/fd": 2 * loss}
        swept = {"protocol": {"images": 90, "count": 360, "extractor": "classifier", "digest": "5da787c9"}}
        add(name, evaluated(), values=values, more_tags=score_tags(swept, "sweep"))
    for metric, order, images, extractor in (
        ("train.val_loss", ["fast", "slow"], "", ""),
        ("sweep.guidance.1.5.fd", ["fast", "slow"], "90", "classifier"),
        # Equal ones in the order in which they began.
        ("by_extractor.nets_my.pt.fd", ["slow", "fast"], "180", "nets/my.pt"),
    ):
        table(capsys, "--metric", metric, "--csv", "runs.csv")
        found = rows(folder / "runs.csv")
        assert [row["run"] for row in found] == order
        assert {(row["images"], row["extractor"], row["protocol"]) for row in found} == {(images, extractor, "known")}


def test_the_floor_of_an_accuracy_is_the_judges_own_and_of_bits_the_baseline(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add("run", evaluated())
    for metric, floor in (("utility.cas_accuracy", "0.98"), ("likelihood.bits_per_dim", "6"), ("fidelity.recall", "")):
        table(capsys, "--metric", metric, "--csv", "runs.csv")
        assert rows(folder / "runs.csv")[0][f"{metric}_floor"] == floor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "fidelity.df"], "--metric: no run has fidelity.df; there are fidelity.fd, "),
        (["--columns", "train.lrr"], "--columns: no run has train.lrr; there are train.lr, "),
        (["--metric", "memorisation.ct"], "--better: say lower or higher; memorisation.ct may be best near a value"),
        (["--csv", "there/is/../no.csv/folder.csv"], "--csv: there/is/../no.csv/folder.csv can't be written: "),
    ],
)
def test_a_users_mistake_is_one_line(
    add: Add, folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    (folder / "there" / "is").mkdir(parents=True)
    (folder / "there" / "no.csv").write_text("")
    add("run", evaluated(), params={"train.lr": "0.002"})
    said = table(capsys, *options, code=2)
    assert said.startswith(f"leaderboard: {message}")
    assert said.count("\n") == 1


def test_without_a_store_nothing_is_made_and_one_line_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys) == "there are no finished runs yet; `make` makes one\n"
    assert list(folder.iterdir()) == []


def test_a_store_of_others_or_with_unfinished_runs_alone_is_left_as_it_is(
    add: Add, folder: Path, empty_database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("running", evaluated(), status="RUNNING")
    assert table(capsys) == "there are no finished runs yet; --all shows 1 that are not finished\n"
    other = folder / "other.db"
    shutil.copy(empty_database, other)
    before = other.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    assert table(capsys).startswith("there are no finished runs yet")
    assert other.read_bytes() == before


def test_a_store_that_does_not_answer_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    said = table(capsys, code=75)
    assert said.startswith("leaderboard: MLflow at http://127.0.0.1:9 can't be read now (")
    assert said.count("\n") == 1


def test_markdown_is_a_table_a_group(add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    add("one|two", evaluated())
    add("small", evaluated(images=90))
    lines = table(capsys, "--markdown", "--columns", "fidelity.recall").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 6
    assert tables[0].startswith("| # | run | preset | network | parameters | fd | 95 % interval | floor | recall |")
    assert tables[2].startswith("| 1 | one\\|two | edm | unet | 900000 | 0.5 | [0.4, 0.6] | 0.75 | 0.9 | 35 |")
    assert len([line for line in lines if line.startswith("### data digits")]) == 2


@pytest.mark.parametrize(
    ("name", "better"),
    [
        *((f"fidelity.{score}", "lower") for score in ("fd", "kid", "mmd", "fd_full", "by_class.3.fd")),
        *((f"fidelity.{score}", "higher") for score in ("precision", "f1", "coverage")),
        *((f"utility.{score}", "higher") for score in ("cas_accuracy", "gan_test_recall.3", "augmentation.100.gain")),
        ("likelihood.bits_per_dim", "lower"),
        ("memorisation.membership_auc", "lower"),
        ("memorisation.ct", None),
        ("memorisation.nearest_ratio", None),
        ("fidelity.fd_floor", None),
        ("verdicts.fidelity", "higher"),
        ("train.val_loss_ema", "lower"),
    ],
)
def test_which_way_is_better_is_known_by_the_score(name: str, better: str | None) -> None:
    assert names.better_of(name) == better


def test_to_import_it_takes_neither_torch_nor_mlflow() -> None:
    code = "import rediffuse.leaderboard.__main__, sys; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "rediffuse.leaderboard.table" in loaded.stdout.split()
    assert not {"torch", "mlflow", "pandas"} & set(loaded.stdout.split())
