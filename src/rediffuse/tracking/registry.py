"""MLflow's registry: a model becomes a version of a registered model, and the best version carries an alias.

A version belongs to a run and its weights: told again, it is found and not made again. The alias moves where the new
version beats its holder by more than both intervals say of chance, on the same protocol; else a line says why not.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from rediffuse.tracking.records import Registration
from rediffuse.tracking.store import store_lock

if TYPE_CHECKING:
    from rediffuse.tracking.mlflow_run import MlflowRun

FOLDER = "model"
"""Of the run's artifacts, that holds the model."""

_TAG = "rediffuse."
_PROTOCOL = f"{_TAG}protocol."
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What stores answer where there is no such model, or no such alias."""


def register(run: "MlflowRun", record: Registration, folder: Path) -> None:
    """Register the model in a folder as a version, and give it the alias where it is the best; say so in a line.

    Args:
        run: that made it; it takes the folder as its artifact.
        record: what is told of it.
        folder: as MLflow saves models; gone where MLflow has had it before.
    """
    client = run.store.client
    # Before the lock: this is what may take its time.
    if folder.exists() and not _version_of(run, record):
        client.log_artifacts(run.id, str(folder), FOLDER)
    with store_lock(run.store.workspace):
        version = _version_of(run, record)
        if version is None:
            if not folder.exists():
                return
            version = _new_version(run, record)
        said = _crowned(client, record, version)
    sys.stdout.write(f"registered as version {version.version} of {record.name}{said}\n")
    sys.stdout.flush()


def _version_of(run: "MlflowRun", record: Registration) -> ModelVersion | None:
    """The version that this run and these weights have."""
    # Names may hold quotes, which no filter takes; a run has one version or two.
    for version in run.store.client.search_model_versions(f"run_id = '{run.id}'"):
        if version.name == record.name and version.tags.get(f"{_TAG}md5") == record.md5:
            return version
    return None


def _new_version(run: "MlflowRun", record: Registration) -> ModelVersion:
    client = run.store.client
    try:
        client.create_registered_model(record.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        record.name,
        f"{run.entity().info.artifact_uri}/{FOLDER}",
        run_id=run.id,
        tags=_tags(record),
        description=record.description,
    )


def _tags(record: Registration) -> dict[str, str]:
    fields: dict[str, Any] = {
        name: getattr(record, name) for name in ("md5", "sha256", "metric", "better", "value", "low", "high")
    }
    own = {f"{_TAG}{name}": str(value) for name, value in fields.items() if value is not None}
    return own | {f"{_PROTOCOL}{name}": value for name, value in record.protocol.items()}


def _crowned(client: Any, record: Registration, version: ModelVersion) -> str:
    """Give the version the alias where it is due; what the line says of it."""
    champion = _holder(client, record)
    if champion is not None and champion.version == version.version:
        return f", its {record.alias}"
    stays = f"; {record.alias} stays version {champion.version}" if champion else f", no {record.alias}"
    if record.value is None:
        return f"{stays}: this run has no {record.metric}"
    if champion is None:
        client.set_registered_model_alias(record.name, record.alias, version.version)
        return f", its first {record.alias}"
    # None can ever be better than it, so whoever was given the alias without a score would keep it for good.
    if f"{_TAG}value" not in champion.tags:
        client.set_registered_model_alias(record.name, record.alias, version.version)
        return f", its new {record.alias} after version {champion.version}, which has no {record.metric}"
    if reason := _incomparable(record, champion.tags):
        return f"{stays}, with which it can't be compared: {reason}"
    known = float(champion.tags[f"{_TAG}value"])
    low, high = (float(champion.tags.get(f"{_TAG}{end}", known)) for end in ("low", "high"))
    assert record.low is not None
    assert record.high is not None
    beaten = record.high < low if record.better == "lower" else record.low > high
    numbers = f"{record.metric} {_shown(record.value, record.low, record.high)} against {_shown(known, low, high)}"
    if not beaten:
        return f"{stays}: {numbers}"
    client.set_registered_model_alias(record.name, record.alias, version.version)
    return f", its new {record.alias} after version {champion.version}: {numbers}"


def _holder(client: Any, record: Registration) -> ModelVersion | None:
    """The version that has the alias."""
    try:
        return client.get_model_version_by_alias(record.name, record.alias)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def _incomparable(record: Registration, tags: dict[str, str]) -> str | None:
    """Why the score of this version says nothing beside that of the other."""
    own = {key: value for key, value in _tags(record).items() if key.startswith(_PROTOCOL)}
    other = {key: value for key, value in tags.items() if key.startswith(_PROTOCOL)}
    for key, value in {f"{_TAG}metric": record.metric, f"{_TAG}better": record.better}.items():
        if tags.get(key) != value:
            return f"{key.removeprefix(_TAG)} {value} here, {tags.get(key, 'none')} there"
    for key in sorted(own.keys() | other.keys()):
        if own.get(key) != other.get(key):
            name = key.removeprefix(_PROTOCOL)
            return f"{name} {_brief(own.get(key))} here, {_brief(other.get(key))} there"
    return None


def _brief(value: str | None) -> str:
    """A value, or the beginning of a digest."""
    return "none" if value is None else value if len(value) <= 24 else f"{value[:12]}..."


def _shown(value: float, low: float, high: float) -> str:
    return f"{value:.4g}" if low == high else f"{value:.4g} [{low:.4g}, {high:.4g}]"
