"""What an image costs our samplers, how good it is after how many evaluations of the network, and what peers need.

    python -m benchmarks.sampling --data digits --train 60
    python -m benchmarks.sampling --data digits --model models/denoiser.safetensors

Our contender is trained for --train seconds, or a model of the pipeline's is read (of the same data). One table holds,
for each sampler and number of evaluations, the time of an image and FD against the training images, in the features of
one classifier of real images; all images start from the same noise. The verdict: whether at most 20 evaluations come
within 5 % of the best FD that 250 evaluations give. The second table holds the time of an image by batch size, the
third each peer's own sampling beside ours; its cost does not depend on the training, which takes two steps there.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command
from benchmarks.command import CHECKOUT, Report
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.judge import Judge
from benchmarks.pictures import add_data, pictures, task_of
from benchmarks.time_to_quality import train_for
from benchmarks.turns import REPEATABLE, Turned
from rediffuse.model import Model, load_model
from rediffuse.params import Params, SampleParams
from rediffuse.presets import expand
from rediffuse.sampling import Sampling
from rediffuse.yaml12 import load

OURS = "rediffuse"
SAMPLERS = ("dpmpp_2m", "heun", "ddim")
FEW, MANY, WITHIN = 20, 250, 1.05
PLAIN: dict[str, Any] = {
    "grid": "karras",
    "eta": 0.0,
    "variance": "posterior",
    "churn": 0.0,
    "corrector_steps": 0,
    "threshold": "none",
    "guidance": 1.0,
    "ema_length": None,
}
Way = Callable[[SampleParams], Sampling]
"""How a model is sampled, by parameters."""
HEADS = ("sampler", "evaluations", "ms an image", "fd", "fd / best")


def steps_of(sampler: str, evaluations: int) -> int:
    """Steps of a grid at which a sampler evaluates the network at most so often: heun 2 × steps - 1 times."""
    return (evaluations + 1) // 2 if sampler == "heun" else evaluations


def drawn(way: Way, params: SampleParams, labels: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The images, and their evaluations and milliseconds each; a batch that isn't counted comes first."""
    sampling = way(params)
    next(way(params.model_copy(update={"steps": 3})).images(labels[: params.batch_size]))
    command.synchronize(sampling.device)
    start = time.perf_counter()
    images = np.concatenate(list(sampling.images(labels)))
    seconds = time.perf_counter() - start
    padded = -(-len(labels) // params.batch_size) * params.batch_size
    row = {"evaluations": round(sampling.evaluations / padded), "ms an image": 1e3 * seconds / len(labels)}
    return images, row


def curve(
    way: Way,
    params: SampleParams,
    judge: Judge,
    evaluations: Sequence[int],
    samplers: Sequence[str] = SAMPLERS,
) -> list[dict[str, Any]]:
    """FD and time of an image, of each sampler at each number of evaluations, the fewest first."""
    labels = np.arange(params.count, dtype=np.int64) % len(judge.data.classes)
    rows = []
    for wanted in sorted(evaluations):
        for sampler in samplers:
            changed = params.model_copy(update=PLAIN | {"sampler": sampler, "steps": steps_of(sampler, wanted)})
            images, row = drawn(way, changed, labels)
            row = {"sampler": sampler, "wanted": wanted, **row}
            rows.append(row | {"fd": judge.score(images, labels, cas=False)["fd"]})
            command.say(
                f"{sampler} {row['evaluations']}: FD {rows[-1]['fd']:.4g}, {row['ms an image']:.3g} ms an image"
            )
    return rows


def verdict(rows: Sequence[dict[str, Any]], few: int = FEW, many: int = MANY) -> dict[str, Any] | None:
    """Whether few evaluations come near the best that many give; None where there are none of either.

    Many are those that at least 0.9 × `many` were wanted for: heun's is an odd number below it.
    """
    best = min((row for row in rows if row["wanted"] >= 0.9 * many), key=lambda row: row["fd"], default=None)
    quick = min((row for row in rows if row["evaluations"] <= few), key=lambda row: row["fd"], default=None)
    if best is None or quick is None:
        return None
    ratio = quick["fd"] / best["fd"]
    return {"few": quick, "many": best, "ratio": ratio, "met": ratio <= WITHIN}


def by_batch(way: Way, params: SampleParams, batches: Sequence[int], classes: int) -> list[dict[str, Any]]:
    """Time of an image by batch size, at 20 evaluations."""
    rows = []
    for batch in batches:
        plain = PLAIN | {"sampler": "dpmpp_2m", "steps": FEW, "batch_size": batch}
        labels = np.arange(batch, dtype=np.int64) % classes
        rows.append({"batch": batch, **drawn(way, params.model_copy(update=plain), labels)[1]})
    return rows


def of_contender(turned: Turned, count: int) -> dict[str, Any]:
    """Time of an image by its own sampling."""
    contender: Contender = turned.made
    labels = np.arange(count, dtype=np.int64) % contender.task.classes
    # The same number twice, so that what is compiled for a batch size is compiled before.
    seconds: dict[str, float] = {}
    for name in ("first", "second"):
        with command.clock(seconds, name):
            turned.do(lambda made: made.images(labels, 0))
    return {
        "contender": contender.name,
        "evaluations": contender.evaluations,
        "images": count,
        "ms an image": 1e3 * seconds["second"] / count,
    }


def sample_params(count: int, batch: int) -> SampleParams:
    """The section `sample` of params.yaml, for so many images."""
    document = expand(load(CHECKOUT / "params.yaml"))
    return Params.model_validate(document).sample.model_copy(update={"count": count, "batch_size": batch})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    add_data(parser)
    parser.add_argument("--model", type=Path, help="a model of the pipeline's, trained on the same data")
    parser.add_argument("--train", type=float, default=60, help="seconds of our training, without --model")
    parser.add_argument("--parameters", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128, help="of the training")
    parser.add_argument("--images", type=int, default=1440, help="at each point")
    parser.add_argument("--sample-batch", type=int, default=96, help="images in one forward pass")
    parser.add_argument("--evaluations", type=command.numbers, default=[5, 10, 15, 20, 35, 50, 100, 250])
    parser.add_argument("--samplers", type=command.names, default=list(SAMPLERS))
    parser.add_argument("--batches", type=command.numbers, help="of the second table; as the device allows")
    parser.add_argument("--contenders", type=command.names, default=list(CONTENDERS))
    parser.add_argument("--peer-images", type=int, default=16, help="of each contender's own sampling")
    parser.add_argument("--judge-steps", type=int)
    options = command.parsed(parser, argv)

    device = command.device_of(options)
    report = Report.of(options, device)
    data = pictures(options.data, path=options.path, count=options.count, seed=options.seed)
    task = task_of(data, vars(options), device, options.train)
    turned = Turned.built(partial(CONTENDERS[OURS], task))
    if options.model:
        model = load_model(options.model, device)
        way: Way = partial(_sampling_of, model, device)
    else:
        report.keep(training={"seconds": options.train, "steps": train_for(turned, options.train).steps})
        way = turned.made.sampling

    judge = Judge.of(data, device, options.seed, options.judge_steps)
    params = sample_params(options.images, options.sample_batch)
    with report.attempt("curve"):
        evaluations = [int(each) for each in options.evaluations]
        with REPEATABLE.held():
            rows = curve(way, params, judge, evaluations, options.samplers)
        best = min(row["fd"] for row in rows)
        report.keep(
            curve=[row | {"fd / best": row["fd"] / best} for row in rows], verdict=verdict(rows), floors=judge.floors
        )
        command.say("\n" + command.table(HEADS, report.found["curve"]))
        command.say(said(report.found["verdict"]))
    with report.attempt("batches"):
        sizes = options.batches or ([16, 64, 256, 1024, 4096] if device.type == "cuda" else [1, 8, 32, 96, 256])
        with REPEATABLE.held():
            report.keep(batches=by_batch(way, params, [int(size) for size in sizes], len(data.classes)))
        command.say("\n" + command.table(("batch", "evaluations", "ms an image"), report.found["batches"]))
    own = []
    for name in options.contenders:
        with report.attempt(name):
            peer = turned if name == OURS else Turned.built(partial(CONTENDERS[name], task))
            if name != OURS:
                peer.do(lambda made: made.train(2))
            own.append(of_contender(peer, options.peer_images))
            report.keep(own_sampling=own)
    command.say("\n" + command.table(("contender", "evaluations", "images", "ms an image"), own))


def _sampling_of(model: Model, device: torch.device, params: SampleParams) -> Sampling:
    return Sampling.of(model, params, device)


def said(found: dict[str, Any] | None) -> str:
    """The verdict as a sentence."""
    if found is None:
        return f"no verdict: it needs points of at most {FEW} and of {MANY} evaluations"
    few, many = found["few"], found["many"]
    return (
        f"{few['evaluations']} evaluations ({few['sampler']}) give FD {few['fd']:.4g}, {many['evaluations']} "
        f"({many['sampler']}) {many['fd']:.4g}: {found['ratio']:.3f} times, "
        f"{'within' if found['met'] else 'not within'} 5 %"
    )


if __name__ == "__main__":
    main()
