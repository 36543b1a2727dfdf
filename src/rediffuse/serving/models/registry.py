"""Models in MLflow's registry and in its runs. Nothing is written: a store that is not there is not made."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.models.edition import PARTS, Edition, Listing
from rediffuse.serving.package import CARD
from rediffuse.workspace import Workspace

FOLDER = "model"
"""Of a run's artifacts, that holds its model."""

_ARTIFACTS = "artifacts"
"""Of a package, that holds the files of `package.write_parts`."""

_NAMED = 8  # names in a message


@dataclass(frozen=True)
class Registry:
    """The registry of a tracking store.

    Args:
        uri: as MLflow takes it.
    """

    uri: str

    @classmethod
    def of(cls, workspace: Workspace) -> "Registry | None":
        """The one that stages tell, MLFLOW_TRACKING_URI or the checkout's own database; None where that is not there.

        Raises:
            UserError: MLFLOW_TRACKING_URI is none of MLflow's.
        """
        # A second's import, for --help and a mistyped option too.
        from rediffuse.tracking.store import check_uri, sqlite_file, tracking_uri

        check_uri(workspace)
        uri = tracking_uri(workspace)
        database = sqlite_file(uri)
        # MLflow would make the file and its tables.
        return None if database is not None and not database.exists() else cls(uri)

    @classmethod
    def place(cls, workspace: Workspace) -> str:
        """Where it is looked for, for a message."""
        from rediffuse.tracking.store import sqlite_file, tracking_uri

        uri = tracking_uri(workspace)
        return str(sqlite_file(uri) or cls(uri))

    def __str__(self) -> str:
        from rediffuse.tracking.store import without_secrets

        return without_secrets(self.uri)

    def models(self) -> list[str]:
        """The names of the registered models, sorted."""
        with self._asked() as client:
            return sorted(model.name for model in _pages(client.search_registered_models))

    def aliases(self, name: str) -> dict[str, str]:
        """Alias -> version.

        Raises:
            UserError: there is no such model, and which there are.
        """
        with self._asked() as client:
            try:
                return {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}
            except _mlflow_error() as error:
                if error.error_code not in _ABSENT:
                    raise
        raise UserError(f"there is no registered model {name!r} in {self}; there is {_listed(self.models())}")

    def versions(self, name: str) -> list[Listing]:
        """The versions that are ready, newest first."""
        aliases = self.aliases(name)
        quote = '"' if "'" in name else "'"
        with self._asked() as client:
            found = list(_pages(client.search_model_versions, f"name = {quote}{name}{quote}"))
        listings = [
            Listing(
                str(each.version),
                tuple(sorted(alias for alias, version in aliases.items() if version == str(each.version))),
                int(each.creation_timestamp or 0),
            )
            for each in found
            if each.status == "READY"
        ]
        return sorted(listings, key=lambda listing: int(listing.version), reverse=True)

    def run_artifacts(self, run_id: str) -> str:
        """Where a run's model lies.

        Raises:
            UserError: there is no such run, and which registered ones there are.
        """
        with self._asked() as client:
            try:
                return f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"
            except _mlflow_error() as error:
                if error.error_code not in _ABSENT:
                    raise
            runs = dict.fromkeys(each.run_id for each in _pages(client.search_model_versions) if each.run_id)
        raise UserError(
            f"there is no run {run_id!r} in {self}; those with a registered model are {_listed(list(runs))}"
        )

    def version_artifacts(self, name: str, version: str) -> str:
        """Where a version's files lie."""
        with self._asked() as client:
            return str(client.get_model_version_download_uri(name, version))

    def download(self, artifacts: str, folder: Path) -> None:
        """Put the package's PARTS and CARD into the folder, as far as there are such.

        Raises:
            UserError: there is no package of rediffuse's, and what is there.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with self._asked():
            repository = get_artifact_repository(artifacts, tracking_uri=self.uri)
            there = {Path(each.path).name for each in repository.list_artifacts()}
            parts = {Path(each.path).name for each in repository.list_artifacts(_ARTIFACTS)}
            if not parts.issuperset(PARTS[:2]):
                inside = sorted(parts) if parts else sorted(there)
                at = f"its {_ARTIFACTS}" if parts else "it"
                told = f"{at} holds {', '.join(inside[:_NAMED])}" if inside else "there is nothing"
                raise UserError(f"no package of rediffuse's: {told}, not {' and '.join(PARTS[:2])}")
            for name in parts.intersection(PARTS):
                path = repository.download_artifacts(f"{_ARTIFACTS}/{name}", dst_path=str(folder))
                Path(path).replace(folder / name)
            if CARD in there:
                repository.download_artifacts(CARD, dst_path=str(folder))

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """MLflow's client; what goes wrong is one line."""
        from rediffuse.tracking.store import check_server, reason

        try:
            check_server(self.uri)
            yield _client(self.uri)
        except UserError:
            raise
        except Exception as error:
            raise TryAgainError(f"MLflow at {self} can't be read now ({reason(error)})") from error


_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What stores answer where there is no such thing."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Args:
        created: milliseconds since 1970: a model that was deleted and made again counts from 1 again.
    """

    registry: Registry
    name: str
    version: str
    created: int

    def __str__(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def fetch(self, folder: Path) -> None:
        """See `Edition`."""
        _fetched(self, self.registry, self.registry.version_artifacts(self.name, self.version), folder)


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model, by an alias that may move, or by a version.

    Args:
        alias, version: one of them.
    """

    registry: Registry
    name: str
    alias: str | None = None
    version: str | None = None

    def newest(self) -> Edition:
        """See `Source`."""
        listings = self.listed()
        for listing in listings:
            if self.alias in listing.aliases if self.alias else listing.version == self.version:
                return self.at(listing)
        aliases = sorted(f"@{alias}" for listing in listings for alias in listing.aliases)
        versions = [f"/{listing.version}" for listing in listings]
        missing = f"alias {self.alias!r}" if self.alias else f"version {self.version}"
        raise UserError(f"models:/{self.name} has no {missing}; there is {_listed([*aliases, *versions])}")

    def listed(self) -> Sequence[Listing]:
        """See `Source`."""
        return self.registry.versions(self.name)

    def at(self, listing: Listing) -> Edition:
        """See `Source`."""
        return RegisteredVersion(self.registry, self.name, listing.version, listing.created)


@dataclass(frozen=True)
class RunModel:
    """The model that a run has made, as a source and as what is always there."""

    registry: Registry
    run_id: str
    version: None = None

    @property
    def name(self) -> str:
        """See `Edition`."""
        return str(self)

    def __str__(self) -> str:
        return f"runs:/{self.run_id}"

    def newest(self) -> Edition:
        """See `Source`."""
        return self

    def listed(self) -> Sequence[Listing]:
        """See `Source`."""
        return ()

    def at(self, listing: Listing) -> Edition:
        """See `Source`."""
        raise KeyError(listing.version)

    def fetch(self, folder: Path) -> None:
        """See `Edition`."""
        _fetched(self, self.registry, self.registry.run_artifacts(self.run_id), folder)


def _fetched(edition: Edition, registry: Registry, artifacts: str, folder: Path) -> None:
    try:
        registry.download(artifacts, folder)
    except UserError as error:
        raise UserError(f"{edition} is {error}") from None


def _pages(search: Any, *asked: str) -> Iterator[Any]:
    """All that a search of MLflow's finds."""
    token = None
    while True:
        page = search(*asked, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}" if names else "none"


def _mlflow_error() -> Any:
    from mlflow.exceptions import MlflowException

    return MlflowException


@cache
def _client(uri: str) -> Any:
    """One for all: to open a store takes longer than to ask it."""
    from mlflow import MlflowClient

    return MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
