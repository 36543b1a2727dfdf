"""What the routes share: the models, the queue, the limits."""

from dataclasses import dataclass
from typing import Protocol

from rediffuse.errors import TryAgainError
from rediffuse.serving.api.cost import evaluations, most_evaluations
from rediffuse.serving.api.errors import RefusedError
from rediffuse.serving.api.metrics import Metrics
from rediffuse.serving.api.settings import ApiSettings
from rediffuse.serving.batching import Batcher
from rediffuse.serving.models import Listing, Served
from rediffuse.serving.request import ImageRequest, wanted
from rediffuse.serving.wanted import NotAllowedError, Settings, Wanted


class ServedModels(Protocol):
    """What is served; `models.Models` is one."""

    @property
    def swaps(self) -> int:
        """Models that took the place of another."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why what stands at the source now is not what is served; None where all is well."""
        ...

    def current(self) -> Served:
        """The model that answers who names none."""
        ...

    def named(self, version: str) -> Served:
        """Another version, loaded where it is not yet; KeyError, UserError, TryAgainError."""
        ...

    def listed(self) -> list[Listing]:
        """The versions that `named` knows."""
        ...


@dataclass(frozen=True)
class Service:
    """A model that is served, and how.

    Args:
        models, batcher, settings, metrics: of the one app.
    """

    models: ServedModels
    batcher: Batcher
    settings: ApiSettings
    metrics: Metrics

    def served(self, version: str | None) -> Served:
        """The model of this version; it may take seconds to load, so ask in a thread.

        Raises:
            RefusedError: 404 for one that is not there, 503 where its store does not answer.
            UserError: it can't be loaded.
        """
        if version is None:
            return self.models.current()
        try:
            return self.models.named(version)
        except KeyError:
            known = ", ".join(each.version for each in self.models.listed()) or "none: leave it out"
            raise RefusedError(404, "no such version is served", field="model", allowed=known) from None
        except TryAgainError as error:
            raise RefusedError(503, " ".join(str(error).split()), field="model", retry_after=5) from None

    def wanted(self, request: ImageRequest) -> tuple[Served, list[Wanted]]:
        """The images that are asked for, and the model that draws them.

        Raises:
            NotAllowedError: as `images`.
            RefusedError, UserError: as `served`.
        """
        served = self.served(request.model)
        return served, self.images(request, served)

    def images(self, request: ImageRequest, served: Served) -> list[Wanted]:
        """The images that are asked for of this model, whichever the request names.

        Raises:
            NotAllowedError: beyond a limit, or nothing that the model can do.
        """
        _check(request.steps, most_steps(self.settings, served.answers.settings), "steps")
        _check(request.guidance, self.settings.guidance, "guidance")
        _check(request.temperature, self.settings.temperature, "temperature")
        images = wanted(request, served.answers, self.settings.count)
        most = most_evaluations(self.settings, served.answers)
        if (takes := evaluations(served.answers, images)) > most:
            raise NotAllowedError(
                "steps",
                f"these images take {takes} evaluations of the network, whose batches are of "
                f"{served.answers.batch_size}; at most {most} are allowed: ask for fewer steps or images",
            )
        return images


def _check(asked: float | None, most: float, field: str) -> None:
    # The model's own value is not asked for, and always allowed.
    if asked is not None and asked > most:
        raise NotAllowedError(field, f"{field} is {asked}; at most {most:g} is allowed")


def most_steps(limits: ApiSettings, own: Settings) -> int:
    """The steps that may be asked for: the model's own in any case."""
    return max(limits.steps, own.steps)
