"""What a server serves: a model that may be replaced while it is asked, other versions of it, and models beside it."""

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.answers import Answers
from rediffuse.serving.models.edition import Edition, Listing, Source, load


@dataclass(frozen=True)
class Served:
    """A loaded model.

    Args:
        name: of the registered model, the run, the folder or the file.
        version: of the registered model, None for others; of a model beside the default one the name that `model` of a
            request gives it, NAME/VERSION or NAME.
        answers: the model.
    """

    name: str
    version: str | None
    answers: Answers


@dataclass(frozen=True)
class _Failure:
    """A model that could not be loaded, so that not everybody who asks tries it again.

    Args:
        error: why.
        until: the moment from which it is worth another look.
    """

    error: UserError | TryAgainError
    until: float

    def again(self) -> UserError | TryAgainError:
        """The same error, of which a new one is raised each time: one that is kept would keep who raised it."""
        return type(self.error)(str(self.error))


class Models:
    """The model of a source, followed where that changes, and other versions on request.

    The new one is loaded beside the old one and takes its place by one assignment; who holds the old `Answers` keeps
    them until the images that were checked against them are drawn. What can't be loaded leaves the old one in place.

    Args:
        source: where the default model is.
        beside: where others are that may be asked for; loaded once, as they stand at the start.
        poll: seconds between two looks.
        kept: other versions that stay loaded, at most; the one that nobody asked for the longest goes. 0: none is
            served.
        again: seconds until what could not be loaded is tried again, unless something else stands there before.
        load: a model's files to the model.
        clock: seconds.
    """

    def __init__(
        self,
        source: Source,
        *,
        beside: Sequence[Source] = (),
        poll: float = 5.0,
        kept: int = 1,
        again: float = 60.0,
        load: Callable[[Edition], Answers] = load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._poll, self._kept, self._again = source, poll, kept, again
        self._load, self._clock = load, clock
        self._sources_beside = beside
        self._beside: dict[str, Served] = {}
        self._state = threading.Lock()  # guards what follows; held for moments only
        self._current: tuple[Edition, Served] | None = None
        self._swaps = 0
        self._others: OrderedDict[Edition, Served] = OrderedDict()
        self._listed: tuple[Listing, ...] = ()
        self._failures: dict[Edition, _Failure] = {}
        self._trouble: str | None = None
        # One model at a time, whoever wants it: two at once would take the memory of both.
        self._loading = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="models", daemon=True)

    def start(self) -> None:
        """Load the model, then follow its source.

        Raises:
            UserError, TryAgainError: it can't be loaded.
        """
        edition, listed = self._source.newest(), tuple(self._source.listed())
        self._current, self._listed = (edition, self._made(edition)), listed
        for each in self._sources_beside:
            other = each.newest()
            key = f"{other.name}/{other.version}" if other.version else other.name
            if key in self._beside:
                raise UserError(f"two models to serve beside {edition} are called {key}; name each once")
            self._beside[key] = Served(other.name, key, self._load(other))
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def current(self) -> Served:
        """The model that answers who names none."""
        return self._now()[1]

    @property
    def swaps(self) -> int:
        """Models that took the place of another since the start."""
        return self._swaps

    @property
    def trouble(self) -> str | None:
        """Why what stands at the source now is not what is served, in one line; None where all is well."""
        return self._trouble

    def listed(self) -> list[Listing]:
        """What `named` knows: the versions, newest first, as they were at the last look, then the models beside."""
        current = self.current().version
        versions = [each for each in self._listed if self._kept or each.version == current]
        return versions + [Listing(key, (), 0, served.name) for key, served in self._beside.items()]

    def named(self, version: str) -> Served:
        """A version of the same registered model, loaded where it is not yet, which takes seconds (so ask in a thread);
        or a model beside it.

        Raises:
            KeyError: `listed` does not know it.
            UserError, TryAgainError: it can't be loaded.
        """
        current = self.current()
        if version == current.version:
            return current
        if version in self._beside:
            return self._beside[version]
        listing = next((each for each in self.listed() if each.version == version), None)
        if listing is None:
            raise KeyError(version)
        edition = self._source.at(listing)
        if served := self._known(edition):
            return served
        with self._loading:
            # Somebody else may have waited for the same.
            if served := self._known(edition):
                return served
            self._check_failed(edition)
            # Room first: two of them at once would take the memory of both.
            with self._state:
                while len(self._others) >= self._kept:
                    self._others.popitem(last=False)
            served = self._tried(edition)
            with self._state:
                self._others[edition] = served
            return served

    def _now(self) -> tuple[Edition, Served]:
        if self._current is None:
            raise RuntimeError("start comes first")
        return self._current

    def look(self) -> None:
        """See what stands at the source, and serve it where it is another; what fails is `trouble`, and told once."""
        try:
            edition, listed = self._source.newest(), tuple(self._source.listed())
            with self._state:
                self._listed = listed
                known = {self._source.at(listing) for listing in listed} | {edition}
                self._failures = {each: failure for each, failure in self._failures.items() if each in known}
            if edition != self._now()[0]:
                self._swap(edition)
        except (UserError, TryAgainError) as error:
            self._tell(" ".join(str(error).split()))
        else:
            self._tell(None)

    def _swap(self, edition: Edition) -> None:
        with self._loading:
            served = self._known(edition) or self._tried(edition)
            with self._state:
                (before, old), self._current = self._now(), (edition, served)
                self._swaps += 1
                self._others.pop(edition, None)
                # Who compares the two asks for it next.
                if before.version and self._kept:
                    self._others[before] = old
                    while len(self._others) > self._kept:
                        self._others.popitem(last=False)
        _say(f"serves {edition} now, in place of {before}")

    def _known(self, edition: Edition) -> Served | None:
        with self._state:
            now, served = self._now()
            if now == edition:
                return served
            if edition in self._others:
                self._others.move_to_end(edition)
            return self._others.get(edition)

    def _check_failed(self, edition: Edition) -> None:
        """Whether it may be tried: not where that has failed just now."""
        failure = self._failures.get(edition)
        if failure and self._clock() < failure.until:
            raise failure.again()

    def _tried(self, edition: Edition) -> Served:
        """Loaded, unless that has failed just now."""
        self._check_failed(edition)
        try:
            served = self._made(edition)
        except (UserError, TryAgainError) as error:
            with self._state:
                self._failures[edition] = _Failure(type(error)(str(error)), self._clock() + self._again)
            raise
        with self._state:
            self._failures.pop(edition, None)
        return served

    def _made(self, edition: Edition) -> Served:
        return Served(edition.name, edition.version, self._load(edition))

    def _follow(self) -> None:
        while not self._closing.wait(self._poll):
            try:
                self.look()
            except Exception as error:
                # The old model answers on, whatever is wrong here.
                self._tell(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _tell(self, trouble: str | None) -> None:
        if trouble and trouble != self._trouble:
            _say(f"still serves {self._now()[0]}: {trouble}")
        self._trouble = trouble


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
