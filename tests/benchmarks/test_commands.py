"""The commands of benchmarks/, with a contender of a few lines at tiny sizes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import command, gpu, profiles, sampling, scale, throughput, time_to_quality
from benchmarks.command import Report
from benchmarks.contenders import CONTENDERS, Task
from benchmarks.judge import Judge
from benchmarks.pictures import Pictures, clouds
from benchmarks.slopes import exponent, last_exponent
from benchmarks.traffic import bytes_of
from benchmarks.turns import REPEATABLE, Switches, Turned, interleaved, spread


class Copies:
    """Trains a matrix; its images are training images, noisier the less it was trained."""

    name = "rediffuse"
    setting = "a matrix, fp32"
    evaluations = 4

    def __init__(self, task: Task) -> None:
        self.task = task
        self.weights = torch.zeros(8, 8, device=task.device, requires_grad=True)
        self.parameters = self.weights.numel()
        self.steps = 0
        self.seen: list[bool] = []

    def train(self, steps: int) -> None:
        for _ in range(steps):
            (self.weights @ torch.ones(8, self.task.batch_size)).sum().backward()
            self.steps += 1
            self.seen.append(torch.are_deterministic_algorithms_enabled())

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        draw = np.random.default_rng(seed)
        rows = [draw.choice(np.flatnonzero(self.task.labels == label)) for label in labels]
        noise = draw.normal(0, 40 / (1 + self.steps), (len(labels), *self.task.images.shape[1:]))
        return np.clip(self.task.images[rows] + noise, 0, 255).astype(np.uint8)

    def flops(self) -> float:
        return 128.0


class Broken(Copies):
    name = "broken"

    def train(self, steps: int) -> None:
        raise ValueError("no such kernel")


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTENDERS, "rediffuse", Copies)
    monkeypatch.setitem(CONTENDERS, "broken", Broken)


def task(**changes: object) -> Task:
    images, labels = clouds(64, 8, 1, 0)
    device = torch.device("cpu")
    settings = {"images": images, "labels": labels, "classes": 10, "batch_size": 4, "device": device, **changes}
    return Task(**settings)  # type: ignore[arg-type]


def test_every_contender_has_a_turn_in_each_round_and_each_begins_in_turn() -> None:
    taken: list[str] = []
    turns = {name: lambda name=name: taken.append(name) or 0.5 for name in "abc"}
    seconds = interleaved(turns, 3)
    assert "".join(taken) == "abcbcacab"
    assert seconds == {name: [0.5] * 3 for name in "abc"}
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(0.25)


def test_switches_that_a_contender_sets_are_its_own() -> None:
    before = Switches.now()

    def strict(task: Task) -> Copies:
        torch.use_deterministic_algorithms(True)
        return Copies(task)

    ours, theirs = Turned.built(lambda: strict(task())), Turned.built(lambda: Copies(task()))
    with REPEATABLE.held():
        for turned in (theirs, ours):
            turned.do(lambda made: made.train(1))
        assert Switches.now() == REPEATABLE
    assert (ours.made.seen, theirs.made.seen) == ([True], [False])
    assert Switches.now() == before


def test_exponents_of_known_powers() -> None:
    sizes = [1, 10, 100, 1000]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7.0] * 4) == pytest.approx(0)
    # A fixed cost hides the straight line of small sizes, not of large ones.
    assert last_exponent(sizes, [50 + size for size in sizes]) == pytest.approx(0.845, abs=0.01)
    assert exponent([1, 2], [1.0, None]) is None
    rows = [{"memory MiB": 500.0 + size, "before MiB": 500.0} for size in sizes]
    assert scale.growth(sizes, rows)["memory MiB"]["all"] == pytest.approx(1)


def test_bytes_count_reads_and_writes_and_no_views() -> None:
    x, y = torch.ones(10, 10), torch.ones(10, 10)
    assert bytes_of(lambda: x + y) == 3 * 400
    assert bytes_of(lambda: x.add_(y)) == 3 * 400
    assert bytes_of(lambda: x.t().reshape(10, 10)[2:]) == 0
    assert bytes_of(lambda: torch.ones(1, 10).expand(10, 10) + x) == 40 + 40 + 2 * 400


def test_values_of_params_are_read_as_in_the_file() -> None:
    assert command.changes(["train.lr=1e-3", "sample.guidance_levels=[0.3, 3]", "model.size=tiny"]) == {
        "train.lr": 1e-3,
        "sample.guidance_levels": [0.3, 3],
        "model.size": "tiny",
    }


def test_a_table_aligns_numbers_and_shows_what_is_missing() -> None:
    text = command.table(("name", "n", "x"), [{"name": "a", "n": 1200, "x": 0.12345}, {"name": "long"}])
    assert text == "name      n      x\na     1,200  0.123\nlong      -      -\n"


def test_throughput_compares_what_runs_and_records_what_does_not(contenders: None, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    asked = "--data colour32 --count 40 --contenders broken,rediffuse --batch 8 --rounds 3 --turn 0.002 --quick"
    throughput.main([*asked.split(), "--no-memory", "--threads", "1", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["errors"] == {"broken": "ValueError: no such kernel"}
    (row,) = found["contenders"]
    assert (row["contender"], row["ratio"], len(row["rounds"])) == ("rediffuse", 1, 3)
    assert row["TFLOP/s"] == pytest.approx(3 * 128 * row["examples/s"] / 1e12, rel=1e-4)
    assert row["of fp32"] == pytest.approx(row["TFLOP/s"] / found["peaks"]["fp32_tflops"], rel=1e-4)
    assert found["machine"]["threads"] == "1"
    assert found["settings"]["batch"] == 8


def test_quality_is_scored_at_each_stop_and_ours_anew(
    contenders: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, train_labels = clouds(128, 8, 1, 0)
    test, test_labels = clouds(64, 8, 1, 1)
    data = Pictures(
        name="digits",
        train=train,
        train_labels=train_labels,
        test=test,
        test_labels=test_labels,
        classes=tuple("0123456789"),
    )
    monkeypatch.setattr(time_to_quality, "pictures", lambda *_, **__: data)
    monkeypatch.setitem(CONTENDERS, "peer", type("Peer", (Copies,), {"name": "peer"}))
    out = tmp_path / "found.json"
    asked = "--seconds 0.02,0.06 --contenders rediffuse,peer,broken --images 64 --judge-steps 3 --cas --threads 1"
    time_to_quality.main([*asked.split(), "--out", str(out), "--grids", str(tmp_path)])
    found = json.loads(out.read_text())
    ours, theirs = ([row for row in found["rows"] if row["contender"] == name] for name in ("rediffuse", "peer"))
    # A peer with a schedule is looked at where it ends.
    assert ([row["wanted"] for row in ours], [row["wanted"] for row in theirs]) == ([0.02, 0.06], [0.06])
    for row in (*ours, *theirs):
        assert row["seconds"] >= row["wanted"]
        assert row["fd_floor"] == pytest.approx(found["floors"]["64"])
        assert 0 <= row["cas"] <= 1
    assert ours[0]["fd"] > 0
    assert 0 <= found["real_cas"] <= 1
    shares = [row["ours / theirs"] for row in found["against_best_peer"]]
    assert shares == pytest.approx([row["fd"] / theirs[0]["fd"] for row in ours], rel=1e-3)
    assert list(found["errors"]) == ["broken"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"digits-rediffuse.png", "digits-peer.png"}


def test_the_judge_prefers_real_images_to_noise() -> None:
    (train, labels), (test, _) = clouds(400, 8, 1, 0), clouds(400, 8, 1, 1)
    data = Pictures(name="digits", train=train, train_labels=labels, test=test, test_labels=labels, classes=("a",) * 10)
    judge = Judge.of(data, torch.device("cpu"), 0, steps=20)
    real = judge.score(train[:100], labels[:100], cas=False)
    noise = judge.score(np.random.default_rng(0).integers(0, 256, train[:100].shape, np.uint8), labels[:100], cas=False)
    assert noise["fd"] > 5 * real["fd"]
    assert real["gan_test_accuracy"] > 0.5 > noise["gan_test_accuracy"]
    assert "cas_accuracy" not in real
    assert judge.score(test, labels, cas=False)["fd_over_floor"] == pytest.approx(1)


def test_the_verdict_compares_the_best_of_few_with_the_best_of_many() -> None:
    rows = [
        {"sampler": name, "wanted": wanted, "evaluations": wanted, "fd": fd}
        for name, wanted, fd in (("ddim", 20, 1.2), ("heun", 20, 1.04), ("ddim", 250, 1.0), ("heun", 250, 1.1))
    ]
    found = sampling.verdict(rows)
    assert found is not None
    assert (found["few"]["sampler"], found["many"]["sampler"], found["met"]) == ("heun", "ddim", True)
    assert found["ratio"] == pytest.approx(1.04)
    assert sampling.verdict(rows[:2]) is None
    assert [2 * sampling.steps_of("heun", n) - 1 for n in (5, 20, 250)] == [5, 19, 249]


def test_operations_are_shared_out_by_kind() -> None:
    found = profiles.profiled(lambda: torch.ones(64, 64) @ torch.ones(64, 64), 2, torch.device("cpu"))
    assert {row["kind"] for row in found["operations"]} >= {"matrix product"}
    assert sum(found["kinds"].values()) == pytest.approx(1)
    assert profiles.kind_of("aten::convolution_backward") == "convolution"
    assert profiles.kind_of("sm90_xmma_fprop_implicit_gemm_bf16") == "convolution"
    assert profiles.kind_of("aten::_fused_adamw_") == "optimizer, average"


def test_gpu_goes_on_after_a_part_that_fails_and_one_that_hangs(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    written: list[list[str]] = []

    def run(part: gpu.Part, device: str, file: Path, limit: float) -> dict[str, object]:
        written.append(sorted(json.loads(out.read_text())["parts"]) if out.exists() else [])
        if part.name == "bad":
            raise OSError("no memory")
        return {"seconds": 1.0, "result": {"machine": {"name": "card"}, "limit": limit}}

    parts = [
        gpu.Part(name, "x", ("--path", "/a/b"), seconds) for name, seconds in (("bad", 9), ("good", 9), ("long", 999))
    ]
    result = gpu.run_all(parts, "cpu", out, 100, {}, run)
    assert written == [[], ["bad"], ["bad", "good"]]
    assert json.loads(out.read_text())["parts"]["bad"]["error"] == "OSError: no memory"
    assert result["parts"]["good"]["result"]["limit"] == 9
    assert result["parts"]["long"]["result"]["limit"] < 100 - gpu.GRACE + 0.1
    assert (result["machine"], result["parts"]["good"]["arguments"]) == ({"name": "card"}, ["--path", "b"])
    assert "not begun" in gpu.run_all(parts, "cpu", out, 5, {}, run)["parts"]["good"]["error"]


def test_a_part_that_takes_too_long_is_ended_and_keeps_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys, time, pathlib; pathlib.Path(sys.argv[-1]).write_text('{\"x\": 1}'); time.sleep(60)"
    monkeypatch.setattr(gpu, "_asked", lambda part, device, out: [sys.executable, "-S", "-c", script, str(out)])
    found = gpu.run_part(gpu.Part("slow", "x", (), 1), "cpu", tmp_path / "slow.json", 0.5)
    assert (found["error"], found["result"]) == ("took longer than 0 s", {"x": 1})
    assert found["seconds"] < 3


def test_a_report_holds_what_was_found_before_an_error_and_no_nan(tmp_path: Path) -> None:
    report = Report(tmp_path / "found.json", {"a": float("nan")})
    with report.attempt("part"):
        raise RuntimeError("two\nlines")
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "a": None,
        "errors": {"part": "RuntimeError: two lines"},
    }
