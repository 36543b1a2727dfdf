"""How long stages took: only MLflow knows, and only where tracking was on."""

from collections.abc import Mapping

from rediffuse.tracking.store import EXPERIMENT, tracking_uri
from rediffuse.workspace import Workspace

# The out by whose MD5 a stage's run is known again: an experiment that DVC restores from its cache has no run itself.
_OUTS = {"train": "models/denoiser.safetensors", "sample": "samples/images.npy"}


def stage_seconds(workspace: Workspace, digests: Mapping[str, str]) -> dict[str, float]:
    """Seconds of train and sample, of the newest run that made these very outs; a stage nobody timed is left out.

    Args:
        digests: MD5 by out, as dvc.lock has it.
    """
    uri = tracking_uri(workspace)
    if uri.startswith("sqlite:") and not workspace.tracking_database.exists():
        return {}  # MLflow would make one.
    from mlflow.exceptions import MlflowException

    try:
        return _logged(uri, digests)
    except MlflowException:
        return {}  # A server that does not answer costs the times, not the comparison.


def _logged(uri: str, digests: Mapping[str, str]) -> dict[str, float]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return {}
    seconds = {}
    for stage, out in _OUTS.items():
        metric = f"timing/{stage}_seconds"
        found = client.search_runs(
            [experiment.experiment_id],
            f"tags.`out.{out}` = '{digests.get(out)}' and metrics.`{metric}` > 0",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if found:
            seconds[stage] = round(found[0].data.metrics[metric], 1)
    return seconds
