"""Stage `register`: a model that holds what `register.require` asks becomes a version in MLflow's registry."""

import sys
from dataclasses import asdict
from functools import partial
from typing import Any

from rediffuse import files
from rediffuse.params import Params, flatten
from rediffuse.rules import Name, dotted, judged, parse_name, score
from rediffuse.score_protocol import deciding, measured_by
from rediffuse.serving.description import described
from rediffuse.serving.package import why_labelled, write_package
from rediffuse.stage import run_stage
from rediffuse.tables import rounded
from rediffuse.tracking import Candidate, Run, Untracked
from rediffuse.tracking.names import as_text
from rediffuse.workspace import Workspace


def register(params: Params, workspace: Workspace, run: Run | None = None) -> dict[str, Any]:
    """Judge the model, and hand an eligible one to MLflow's registry.

    Writes metrics/register.json, and models/candidate.json: what the registry is told of the model. What the registry
    makes of it (a version, the champion) is no part of the outs: it depends on what is there already.
    """
    asked = params.register
    metrics = files.read_json(workspace.metrics("evaluate"))
    conditions = judged(metrics, asked.require)
    eligible = all(condition["met"] for condition in conditions)
    name = asked.name or f"rediffuse-{params.prepare.source}"
    value, low, high = interval(metrics, parse_name(asked.metric))
    verdict: dict[str, Any] = rounded(
        {
            "eligible": eligible,
            "conditions": conditions,
            "name": name,
            "metric": asked.metric,
            "value": value,
            "low": low,
            "high": high,
        }
    )
    candidate = Candidate(
        name=name,
        alias=asked.alias,
        description=described(workspace.model_card.read_text(encoding="utf-8")),
        metric=asked.metric,
        better=asked.better,
        value=value,
        low=low,
        high=high,
        protocol=protocol(metrics, parse_name(asked.metric)),
    )
    files.write_json(workspace.candidate, asdict(candidate))
    files.write_json(workspace.metrics("register"), verdict)
    if not asked.enabled:
        _say("not registered: register.enabled is false")
    elif not eligible:
        missed = [f"{each['rule']} ({each['found']})" for each in conditions if not each["met"]]
        _say(f"not registered: register.require asks for {' and '.join(missed)}")
    elif run is None or isinstance(run, Untracked):
        _say("not registered: runtime.tracking is off; once it is on, `dvc repro -f -s register` registers it")
    else:
        run.register(
            candidate,
            partial(
                write_package,
                workspace=workspace,
                sample=params.sample,
                runtime=params.runtime,
                prompts=params.prompts,
                unguided=params.sample.why_not_guided(
                    label_drop=params.train.label_drop, snapshots=params.train.snapshots
                ),
                needs_label=why_labelled(params.train.label_drop),
            ),
        )
    return verdict


def interval(metrics: dict[str, Any], name: Name) -> tuple[float | None, float | None, float | None]:
    """A score and the ends of its interval; the score itself where it has none, None where the run has no score."""
    *block, last = name
    value = score(metrics, name)
    low, high = (score(metrics, (*block, f"{last}_{end}")) for end in ("low", "high"))
    return value, value if low is None else low, value if high is None else high


def protocol(metrics: dict[str, Any], name: Name) -> dict[str, str]:
    """What another score of this name must share to be compared with this one."""
    block = measured_by(name[0], name[1]) if len(name) > 1 else ""
    noted = metrics["protocol"].get(block) or {}
    if isinstance(noted, str):
        return {block: noted}
    return deciding({key: as_text(value) for key, value in flatten(noted).items()}, dotted(name))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    run_stage(register, live=True)
