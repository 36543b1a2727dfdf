"""What a text names: the registry's, a run's, a folder, a file; and what is served where nobody says."""

import re
from pathlib import Path

from rediffuse.errors import UserError
from rediffuse.serving.models.edition import Source
from rediffuse.serving.models.folders import PackageFolder, WeightsFile
from rediffuse.serving.models.registry import RegisteredModel, Registry, RunModel
from rediffuse.serving.package import SETTINGS, WEIGHTS
from rediffuse.workspace import Workspace

ALIAS = "champion"
ALLOWED = (
    "allowed are models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID, a folder that holds a packed model, "
    "and a .safetensors file"
)

_REGISTERED = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
_RUN = re.compile(r"runs:/+(?P<run>[^/]+)(?:/model)?/*")


def source(text: str, workspace: Workspace | None = None) -> Source:
    """The source that the text names.

    Args:
        text: models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID, a folder of `package.write_package`, or a .safetensors
            file with params.yaml in the folder above its own.
        workspace: whose store is asked, unless MLFLOW_TRACKING_URI names another; None: the one that we stand in.

    Raises:
        UserError: there is nothing of this name, and what there is instead.
        TryAgainError: the store does not answer.
    """
    workspace = workspace or Workspace.here()
    found: Source
    if text.startswith(("models:", "runs:")):
        registry = Registry.of(workspace)
        if registry is None:
            raise UserError(f"{text}: there is no registry, {Registry.place(workspace)} is missing; `make` makes one")
        if match := _REGISTERED.fullmatch(text):
            found = RegisteredModel(registry, match["name"], match["alias"], match["version"])
        elif match := _RUN.fullmatch(text):
            registry.run_artifacts(match["run"])
            found = RunModel(registry, match["run"])
        else:
            raise UserError(f"{text!r} names no model; {ALLOWED}; registered are {_names(registry)}")
    else:
        path = Path(text).absolute()
        if path.is_dir():
            found = PackageFolder(path)
        elif path.name == WEIGHTS and (path.parent / SETTINGS).exists():
            found = PackageFolder(path.parent)
        elif path.is_file() or path.suffix == ".safetensors":
            found = WeightsFile(path)
        else:
            raise UserError(f"{text!r} names no model, and is no folder and no file; {ALLOWED}")
    found.newest()
    return found


def default_source(workspace: Workspace | None = None) -> Source:
    """What is served where nobody says: the champion of the only registered model, else the trained weights.

    Raises:
        UserError: there are several, or none, or no champion.
        TryAgainError: the store does not answer.
    """
    workspace = workspace or Workspace.here()
    registry = Registry.of(workspace)
    names = registry.models() if registry else []
    if registry and len(names) == 1:
        only = RegisteredModel(registry, names[0], alias=ALIAS)
        only.newest()
        return only
    if names:
        told = ", ".join(f"models:/{name}@{ALIAS}" for name in names)
        raise UserError(f"there are {len(names)} registered models in {registry}; name one: {told}")
    if not workspace.denoiser.exists():
        where = f"{registry} has no registered model" if registry else f"{Registry.place(workspace)} is missing"
        raise UserError(f"there is no model to serve: {where}, and so is {workspace.denoiser}; `make` makes both")
    return source(str(workspace.denoiser), workspace)


def _names(registry: Registry) -> str:
    return ", ".join(registry.models()) or "none"
