"""Images on request, each the bytes that the stage `sample` makes for the same (seed, index, label)."""

import hashlib
import json
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from rediffuse import runtime
from rediffuse.acceleration import accelerate, profile
from rediffuse.diffusion import NetworkDenoiser, noise_to_signal
from rediffuse.errors import UserError
from rediffuse.model import Model, load_model
from rediffuse.params import RuntimeParams, SampleParams
from rediffuse.prompts import Term, Vocabulary
from rediffuse.prompts.errors import listed
from rediffuse.samplers import Between, NoiseKey, Step, to_uint8
from rediffuse.sampling import Sampling, class_mix, unit_variance
from rediffuse.serving.wanted import NotAllowedError, Origin, Settings, Wanted
from rediffuse.sweep import SWEPT, plainly

UNLABELLED = 100_000
"""Images of a seed that may be asked for without a label: the mix of classes is counted from the first."""
KEPT = 16
"""Ways of sampling that are kept ready."""


@dataclass(frozen=True)
class Moment:
    """A batch on its way from noise.

    Args:
        done: steps, of `of`.
        level: noise-to-signal ratio, 0 at the end.
        pictures: the images as they stand, B×C×H×W, uint8, scaled to unit variance; at the end the images themselves.
    """

    done: int
    of: int
    level: float
    pictures: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Answers:
    """A model that answers: draws from one thread at a time, and may be asked for anything else by others meanwhile.

    Args:
        model: the weights that are sampled.
        reference: the earlier ones, for guidance by a snapshot.
        sample: how, where nobody asks otherwise.
        runtime: where.
        device: the same, settled.
        vocabulary: what words mean to it.
        unguided: why it can't be guided, with the parameter that would change it; None where it can.
        needs_label: the same of going without a label, alone or in a composition.
        identity: SHA-256 of the weights' file, hex.
        card: the model card, Markdown; empty for none.
    """

    model: Model
    reference: NetworkDenoiser | None
    sample: SampleParams
    runtime: RuntimeParams
    device: torch.device
    vocabulary: Vocabulary
    unguided: str | None
    needs_label: str | None
    identity: str
    card: str
    _ready: dict[Settings, Sampling] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def load(cls, settings: Path, weights: Path, reference: Path | None, card: Path | None = None) -> "Answers":
        """What `package.write_parts` wrote.

        Raises:
            UserError: a file is missing, or is not what it should be.
        """
        sample, settled, sections = _read_settings(settings)
        words = sections.get("prompts", {})
        device = runtime.start(settled)
        # OpenMP gives each thread that computes in parallel helpers of its own, and once there are more of them than
        # cores they sleep between two operations: drawing took 1.7 times as long. So this thread computes alone, and
        # leaves the cores to the one that draws.
        torch.set_num_threads(1)
        try:
            model = load_model(weights, device)
            earlier = load_model(reference, device).denoiser if reference else None
        finally:
            # Also where it is no model: whoever goes on computes what it would have.
            runtime.enter(settled, device)
        for denoiser in filter(None, (model.denoiser, earlier)):
            accelerate(denoiser.network, profile(settled, device))
        try:
            vocabulary = Vocabulary(
                classes=model.classes,
                synonyms={name: tuple(others) for name, others in words.get("synonyms", {}).items()},
                frames=tuple(words.get("frames", ())),
            )
        except ValueError as error:
            raise UserError(f"{settings} is of another model: {error}") from None
        return cls(
            model=model,
            reference=earlier,
            sample=sample,
            runtime=settled,
            device=device,
            vocabulary=vocabulary,
            unguided=sections.get("unguided"),
            needs_label=sections.get("needs_label"),
            identity=_sha256(weights),
            card=card.read_text(encoding="utf-8") if card and card.exists() else "",
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels; empty for a model without."""
        return self.model.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.model.shape

    @property
    def batch_size(self) -> int:
        """Images in each pass of the network, asked for or not."""
        return self.sample.batch_size

    @property
    def settings(self) -> Settings:
        """How the stage `sample` draws."""
        own = self.sample
        return Settings(own.sampler, own.steps, own.guidance, own.temperature)

    @property
    def samplers(self) -> tuple[str, ...]:
        """Those that it can be asked for, its own first."""
        return tuple(dict.fromkeys([self.sample.sampler, *SWEPT]))

    def label_at(self, index: int) -> str | None:
        """The class that the pipeline gives image `index`; None for a model without.

        Raises:
            NotAllowedError: an index below 0, or so great that a label must be given.
        """
        if index < 0:
            raise NotAllowedError("index", f"index is {index}; 0 or more is allowed")
        if not self.classes:
            return None
        if index >= UNLABELLED:
            raise NotAllowedError("index", f"index is {index}; from {UNLABELLED} on a label must be given")
        return self.classes[int(_mix(index + 1, self.classes, self.sample.classes)[index])]

    def check(self, settings: Settings) -> None:
        """Whether it can draw so.

        Raises:
            NotAllowedError: it can't.
        """
        self._sampling(settings)

    def check_terms(self, terms: Sequence[Term]) -> None:
        """Whether it can draw towards these.

        Raises:
            NotAllowedError: it can't.
        """
        for term in terms:
            if term.label not in self.classes:
                allowed = f"the classes are {listed(self.classes)}" if self.classes else "this model knows no labels"
                raise NotAllowedError("label", f"label is {term.label!r}; {allowed}")
        if self.classes and self.needs_label and (not terms or _is_composed(terms)):
            raise NotAllowedError("prompt", f"this model needs one class without a weight, because {self.needs_label}")

    def kind(self, wanted: Wanted) -> Hashable:
        """What images must share to be drawn in one batch."""
        return wanted.settings, len(wanted.terms) if _is_composed(wanted.terms) else 0

    def moments(self, wanted: Sequence[Wanted]) -> Generator[Moment, None, None]:
        """Draw one batch, step by step; to close the iterator stops the work.

        Args:
            wanted: 1 to batch_size of one kind.

        Raises:
            NotAllowedError: before the first step, what the model can't draw.
            ValueError: of several kinds, or too many.
        """
        kinds = {self.kind(each) for each in wanted}
        if len(kinds) != 1 or len(wanted) > self.batch_size:
            raise ValueError(f"{len(wanted)} images of {len(kinds)} kinds are no batch of {self.batch_size}")
        sampling = self._sampling(wanted[0].settings)
        # A sum in another order is another in its last bits: of the same terms there is one.
        terms = [sorted(each.terms, key=lambda term: (term.label, term.weight)) for each in wanted]
        rows = [self._labels(each) for each in terms]
        if _is_composed(terms[0]):
            weights = [[term.weight for term in each] for each in terms]
            sampling = sampling.composed(np.array(rows), np.array(weights))
        steps = sampling.steps(np.array([row[0] for row in rows]), [_key(each) for each in wanted])
        process, last = self.model.process, len(sampling.times) - 1
        for done, step in enumerate(steps):
            level = float(noise_to_signal(process, torch.tensor(step.t, dtype=torch.float64)))
            yield Moment(done, last, level, _Pictures(self.model, step, len(wanted), final=step.t == 0))

    def images(self, wanted: Sequence[Wanted]) -> list[np.ndarray]:
        """The images, C×H×W, uint8, in the order in which they were asked for.

        None depends on the others that are asked for beside it.

        Raises:
            NotAllowedError: what the model can't draw.
        """
        drawn: dict[int, np.ndarray] = {}
        for batch in batches(self, wanted):
            *_, last = self.moments([wanted[row] for row in batch])
            drawn |= zip(batch, last.pictures(), strict=True)
        return [drawn[row] for row in range(len(wanted))]

    def _labels(self, terms: Sequence[Term]) -> list[int]:
        self.check_terms(terms)
        return [self.classes.index(term.label) for term in terms] or [-1]

    def _sampling(self, settings: Settings) -> Sampling:
        """Made once for those that ask for it again."""
        with self._lock:
            sampling = self._ready.pop(settings, None) or self._new_sampling(settings)
            # The latest ones stay.
            self._ready[settings] = sampling
            while len(self._ready) > KEPT:
                self._ready.pop(next(iter(self._ready)))
        return sampling

    def _new_sampling(self, settings: Settings) -> Sampling:
        if settings.guidance != 1 and (why := self.why_not_guided):
            raise NotAllowedError("guidance", f"guidance is {settings.guidance}; 1 is allowed, because {why}")
        try:
            return Sampling.of(self.model, self._params(settings), self.device, reference=self.reference)
        except UserError as error:
            # All else was looked at before: the grid has no such number of steps.
            raise NotAllowedError("steps", str(error).removeprefix("params.yaml: ")) from None

    def _params(self, settings: Settings) -> SampleParams:
        """The section `sample` with these settings; another sampler comes without the extras of the model's own."""
        if settings.sampler not in self.samplers:
            raise NotAllowedError(
                "sampler", f"sampler is {settings.sampler!r}; this model can be asked for {', '.join(self.samplers)}"
            )
        asked = asdict(settings)
        if settings.sampler != self.sample.sampler:
            asked |= plainly(settings.sampler, self.model.description["process"]["name"])
        try:
            return SampleParams.model_validate(self.sample.model_dump() | asked)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "sampler"
            raise NotAllowedError(name, f"{name} is {asked.get(name)!r}; {first['msg']}") from None

    @property
    def why_not_guided(self) -> str | None:
        """Why no guidance scale but 1 can be asked for; None where any can."""
        if self.sample.guidance_reference == "snapshot" and self.reference is None:
            return "sample.guidance was 1 when it was packed, and so it holds no snapshot to be guided by"
        if self.sample.guidance_reference == "label" and not self.classes:
            return "the model knows no labels"
        return self.unguided


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a step, made when they are asked for."""

    model: Model
    step: Step
    count: int
    final: bool

    def __call__(self) -> np.ndarray:
        pictures = to_uint8(self.step.x) if self.final else unit_variance(self.model.process, self.step)
        return pictures[: self.count].cpu().numpy()


def batches(answers: Answers, wanted: Sequence[Wanted]) -> Iterator[list[int]]:
    """The places of the images that are drawn together, kind by kind, at most batch_size of them."""
    kinds: dict[Hashable, list[int]] = {}
    for row, each in enumerate(wanted):
        kinds.setdefault(answers.kind(each), []).append(row)
    for rows in kinds.values():
        for start in range(0, len(rows), answers.batch_size):
            yield rows[start : start + answers.batch_size]


def _is_composed(terms: Sequence[Term]) -> bool:
    """Whether they take more than the condition on one class, or on none."""
    return len(terms) > 1 or any(term.weight != 1 for term in terms)


def _key(wanted: Wanted) -> NoiseKey | Between:
    def key(origin: Origin) -> NoiseKey:
        return NoiseKey(origin.seed, origin.index)

    if wanted.towards is None:
        return key(wanted.origin)
    return Between(key(wanted.origin), key(wanted.towards), wanted.share)


def _read_settings(path: Path) -> tuple[SampleParams, RuntimeParams, Mapping[str, Any]]:
    """What `package.write_parts` keeps: the sections sample and runtime, and all of it."""
    try:
        sections = json.loads(path.read_bytes())
        sample = SampleParams.model_validate_json(json.dumps(sections["sample"]))
        settled = RuntimeParams.model_validate_json(json.dumps(sections["runtime"]))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["sample" if error.title == "SampleParams" else "runtime", *map(str, first["loc"])])
        raise UserError(f"{path} is of another version of rediffuse: {key}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no settings of rediffuse's: {' '.join(str(error).split())}") from None
    return sample, settled, sections


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mix(count: int, classes: Sequence[str], shares: Mapping[str, float] | None) -> np.ndarray:
    """The labels of `count` images or more: counted once for all that ask, and to twice as far for who asks further."""
    length = 1 << max(count - 1, 0).bit_length()
    return _counted(length, tuple(classes), None if shares is None else tuple(shares.items()))


@lru_cache(maxsize=32)
def _counted(length: int, classes: tuple[str, ...], shares: tuple[tuple[str, float], ...] | None) -> np.ndarray:
    return class_mix(length, classes, None if shares is None else dict(shares))
