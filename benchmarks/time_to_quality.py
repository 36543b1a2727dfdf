"""How good the images of each contender are after equal seconds of training on the same machine.

    python -m benchmarks.time_to_quality --data digits --seconds 15,40,150
    python -m benchmarks.time_to_quality --device cuda --data fashion --seconds 15,40,90 --cas --images 10000

Ours is trained anew for each number of seconds, because its learning rate comes down at the end. Peers are trained
once, for the greatest; one whose learning rate is constant is also looked at on the way, one with a schedule is not: in
the middle of it its images say nothing of what so short a training could give. The clock runs while they train, what
they compile included; it stands while they are built (`built s`; ours looks there at its own pace, to lay out its
schedule, and so compiles there), draw images and are scored. Every score is of the same classifier, trained on real
training images: FD of the generated images against all training images (which copies would make smallest), FD of real
test images beside it (the floor, of as many), GAN-test (is the image of the class it was asked for) and, with --cas,
CAS (a classifier trained on the generated images alone, tested on real test images; `real_cas` is that of as many real
training images). With --grids each one's images at its last stop go into a PNG.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import command
from benchmarks.command import Report
from benchmarks.contenders import CONTENDERS, Contender, Task
from benchmarks.judge import Judge
from benchmarks.pictures import Pictures, add_data, pictures, task_of
from benchmarks.turns import Turned
from benchmarks.variants import changed
from rediffuse import files
from rediffuse.pictures import class_grid

OURS = "rediffuse"
CONSTANT = ("denoising-diffusion-pytorch",)
"""Peers whose learning rate has no schedule."""
CAS, FLOORS = 0.90, 2.0
"""What `reached` looks for: CAS accuracy at least, and FD as a multiple of the floor at most."""
BESIDE = ("seconds", "ours", "peer", "its seconds", "theirs", "ours / theirs")
HEADS = ("contender", "seconds", "steps", "fd", "fd / floor", "gan-test", "cas", "ms an image", "parameters")


@dataclass(frozen=True)
class Trained:
    """A stretch of training.

    Args:
        steps: taken.
        seconds: that they took.
    """

    steps: int
    seconds: float


def train_for(turned: Turned, seconds: float, at_once: float = 0.5) -> Trained:
    """Train until so many seconds have passed; no more than a step beyond, where steps take alike.

    Args:
        at_once: seconds of steps between two looks at the clock, about.
    """
    start, steps, pace = time.perf_counter(), 0, 0.0
    while (left := seconds - (time.perf_counter() - start)) > 0:
        many = max(1, int(min(at_once, left) / pace)) if pace else 1
        begun = time.perf_counter()
        turned.do(methodcaller("train", many))
        # Of the latest steps: the first ones compile.
        pace = (time.perf_counter() - begun) / many
        steps += many
    return Trained(steps, time.perf_counter() - start)


def stops(seconds: Sequence[float]) -> list[float]:
    """The stretches between stops."""
    ordered = sorted(seconds)
    return [stop - before for before, stop in zip([0.0, *ordered], ordered, strict=False)]


def labelled(contender: Contender) -> bool:
    """Whether its images follow the class that they are asked for."""
    return "without classes" not in contender.setting


def scored(
    turned: Turned, judge: Judge, count: int, cas: bool, seed: int
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The row of a contender as it stands, its images and what was asked for."""
    contender: Contender = turned.made
    labels = np.arange(count, dtype=np.int64) % contender.task.classes
    start = time.perf_counter()
    images = turned.do(lambda made: made.images(labels, seed))
    seconds = time.perf_counter() - start
    found = judge.score(images, labels, labelled=labelled(contender), cas=cas)
    row = {
        "contender": contender.name,
        "setting": contender.setting,
        "parameters": contender.parameters,
        "evaluations": contender.evaluations,
        "ms an image": 1e3 * seconds / count,
        **found,
        "fd / floor": found.get("fd_over_floor"),
        "gan-test": found.get("gan_test_accuracy"),
        "cas": found.get("cas_accuracy"),
    }
    return row, images, labels


def reached(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """By contender, the fewest seconds after which it had FD 2 × the floor, and CAS 0.90 where it was asked for.

    None: at no stop.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = sorted((row for row in rows if row["contender"] == name), key=lambda row: row["seconds"])
        near = (row["seconds"] for row in own if row.get("fd / floor") and row["fd / floor"] <= FLOORS)
        found[name] = {f"fd {FLOORS:g} floors": next(near, None)}
        if any(row.get("cas") for row in own):
            found[name][f"cas {CAS:.2f}"] = next((row["seconds"] for row in own if (row["cas"] or 0) >= CAS), None)
    return found


def against_best_peer(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best peer's FD at the last stop, and ours at each of its stops as a share of it."""
    scored = [row for row in rows if row.get("fd") is not None]
    last = max((row["wanted"] for row in scored), default=0.0)
    peers = [row for row in scored if row["contender"] != OURS and row["wanted"] == last]
    if not peers:
        return []
    best = min(peers, key=lambda row: row["fd"])
    return [
        {
            "seconds": row["wanted"],
            "ours": row["fd"],
            "peer": best["contender"],
            "its seconds": last,
            "theirs": best["fd"],
            "ours / theirs": row["fd"] / best["fd"],
        }
        for row in scored
        if row["contender"] == OURS
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    add_data(parser)
    parser.add_argument("--seconds", type=command.numbers, default=[15.0, 40.0, 150.0])
    parser.add_argument("--contenders", type=command.names, default=list(CONTENDERS))
    parser.add_argument("--set", nargs="+", default=[], help="values of params.yaml for ours, sample.guidance=1.3 ...")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--parameters", type=int, default=0)
    parser.add_argument("--images", type=int, default=1440, help="generated, at each stop")
    parser.add_argument("--cas", action="store_true")
    parser.add_argument("--judge-steps", type=int, help="of each classifier's training")
    parser.add_argument("--grids", type=Path, help="the folder for a PNG of each contender's images")
    options = command.parsed(parser, argv)
    builds = CONTENDERS | ({OURS: changed(command.changes(options.set))} if options.set else {})

    device = command.device_of(options)
    report = Report.of(options, device)
    data = pictures(options.data, path=options.path, count=options.count, seed=options.seed)
    with command.clock(report.found, "judge_seconds"):
        judge = Judge.of(data, device, options.seed, options.judge_steps)
    report.keep(real_accuracy=judge.accuracy, floors=judge.floors)
    command.say(f"classifier: {judge.accuracy:.3f} on real test images; FD of {judge.floors}")
    if options.cas:
        report.keep(real_cas=judge.real_cas(options.images))
        command.say(f"CAS of as many real training images: {report.found['real_cas']:.3f}")

    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> None:
        rows.append(row)
        report.keep(rows=rows, reached=reached(rows), against_best_peer=against_best_peer(rows))
        command.say(command.table(HEADS, [row]))
        if options.grids:
            write_grid(options.grids / f"{data.name}-{row['contender']}.png", data, images, labels, row)

    for name in options.contenders:
        with report.attempt(name):
            seconds = sorted(options.seconds) if name in (OURS, *CONSTANT) else [max(options.seconds)]
            for row, images, labels in trainings(
                name, builds[name], seconds, partial(task_of, data, vars(options), device), judge, options
            ):
                keep(row, images, labels)
    command.say(command.table(HEADS, rows))
    command.say(command.table(BESIDE, against_best_peer(rows)))
    command.say(f"reached after seconds: {reached(rows)}")


def trainings(
    name: str, build: Callable[[Task], Contender], seconds: Sequence[float], task: Any, judge: Judge, options: Any
) -> Any:
    """Yield the row, the images and the labels of each stop of a contender."""
    total, built, steps = 0.0, 0.0, 0
    turned: Turned | None = None
    for wanted, stretch in zip(seconds, stops(seconds), strict=True):
        if turned is None or name == OURS:
            length = wanted if name == OURS else max(seconds)
            begun = time.perf_counter()
            turned, total, steps = Turned.built(partial(build, task(length))), 0.0, 0
            built = time.perf_counter() - begun
        done = train_for(turned, wanted if name == OURS else stretch)
        total, steps = total + done.seconds, steps + done.steps
        row, images, labels = scored(turned, judge, options.images, options.cas, options.seed)
        yield {**row, "wanted": wanted, "seconds": total, "steps": steps, "built s": built}, images, labels


def write_grid(path: Path, data: Pictures, images: np.ndarray, labels: np.ndarray, row: dict[str, Any]) -> None:
    """Its images, a row a class; without names where its images have no classes."""
    classes = data.classes if row["gan-test"] is not None else ()
    files.write_bytes(path, class_grid(images, labels, classes))


if __name__ == "__main__":
    main()
