"""All sections together, and the rules between them."""

import warnings
from typing import Any, Self

from pydantic import model_validator

from rediffuse.params.data import CleanParams, PrepareParams, SplitParams
from rediffuse.params.diffusion import DiffusionParams
from rediffuse.params.evaluate import EvaluateParams, RegisterParams, SweepParams
from rediffuse.params.prompts import PromptsParams
from rediffuse.params.reference import ReferenceParams
from rediffuse.params.sampling import SampleParams
from rediffuse.params.sections import ModelParams, RuntimeParams, Section, TrainParams, UnetParams

# It means the classmethod of every abstract class, which nobody calls here.
warnings.filterwarnings("ignore", 'Field name "register" in "Params" shadows', UserWarning)


class Params(Section):
    """All parameters. `params.yaml` says what each one means, its unit and its range.

    No stage lists `runtime` in dvc.yaml: its keys say where and how visibly a stage runs, not what it makes. (Another
    device or number of threads gives other last bits, no other result.)
    """

    seed: int
    prepare: PrepareParams
    clean: CleanParams
    split: SplitParams
    reference: ReferenceParams
    model: ModelParams
    diffusion: DiffusionParams
    train: TrainParams
    sample: SampleParams
    sweep: SweepParams
    evaluate: EvaluateParams
    register: RegisterParams
    prompts: PromptsParams
    runtime: RuntimeParams

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        processes = self.runtime.processes
        if reason := self.train.why_not_shared(processes):
            raise ValueError(f"runtime.processes is {processes}, but {reason}")
        return self

    @model_validator(mode="after")
    def _halved(self) -> Self:
        size, factor = self.clean.size, self.model.settings.size_factor
        if size is not None and size % factor:
            levels = "model.name article_unet"
            if isinstance(self.model.settings, UnetParams):
                unet = self.model.settings
                levels = f"model.unet with patch {unet.patch} and {len(unet.multipliers)} levels"
            raise ValueError(f"clean.size is {size}, but {levels} needs a multiple of {factor}")
        return self

    @model_validator(mode="after")
    def _run_as_it_can_be(self) -> Self:
        chosen = self.runtime.profile
        if self.train.shard and chosen not in ("auto", "plain"):
            raise ValueError(
                f"runtime.profile is {chosen}, but train.shard puts each layer together only while it is computed, "
                "which is neither compiled nor laid out otherwise; use the profile plain"
            )
        if chosen == "graphs" and self.train.microbatch < self.train.batch_size:
            raise ValueError(
                f"runtime.profile is graphs, whose memory holds the gradient of one microbatch, but train.batch_size "
                f"{self.train.batch_size} has more than one of {self.train.microbatch}; use the profile compiled, "
                "or a train.microbatch as large"
            )
        return self

    @model_validator(mode="after")
    def _scored(self) -> Self:
        counts = {"sample.count": self.sample.count}
        if self.sweep.used:
            counts["sweep.count"] = self.sweep.count
        for key, count in counts.items():
            if count <= self.evaluate.neighbours:
                raise ValueError(
                    f"{key} is {count}, not above evaluate.neighbours ({self.evaluate.neighbours}): "
                    "each sample needs so many others to be scored"
                )
        return self

    @model_validator(mode="after")
    def _guidable(self) -> Self:
        # The stage sweep leaves out the scales of sweep.guidance that the same rule forbids: they are a default.
        sample, train = self.sample, self.train
        reason = sample.why_not_guided(label_drop=train.label_drop, snapshots=train.snapshots)
        if sample.guidance != 1 and reason:
            raise ValueError(f"sample.guidance is {sample.guidance}, but {reason}, or sample.guidance 1")
        return self

    @model_validator(mode="after")
    def _sampled_on_its_process(self) -> Self:
        sample, diffusion = self.sample, self.diffusion
        steps = f"diffusion.{diffusion.process}.steps"
        if sample.grid == "discrete" and not diffusion.whole_steps:
            raise ValueError(
                f"sample.grid is discrete, but diffusion.process {diffusion.process} has no steps of its own; "
                "use the grid uniform, or another process"
            )
        if sample.grid == "discrete" and sample.steps > diffusion.whole_steps:
            raise ValueError(
                f"sample.steps is {sample.steps} on sample.grid discrete, more than {steps} "
                f"({diffusion.whole_steps}) has; use as many or fewer, or the grid uniform"
            )
        if sample.sampler == "annealed_langevin" and diffusion.process not in ("ve", "edm"):
            raise ValueError(
                f"sample.sampler is annealed_langevin, which needs noise that only grows over the data, but "
                f"diffusion.process is {diffusion.process}; use the process ve or edm, or the sampler "
                "reverse_diffusion with sample.corrector_steps"
            )
        return self

    @model_validator(mode="after")
    def _averaged(self) -> Self:
        if self.sample.ema_length is not None and self.train.ema != "power":
            raise ValueError(
                f"sample.ema_length is {self.sample.ema_length}, but only train.ema power leaves what another length "
                f"is computed from, and it is {self.train.ema}; use null"
            )
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.evaluate.likelihood.method == "bound" and not self.diffusion.whole_steps:
            raise ValueError(
                "evaluate.likelihood.method is bound, which is a sum over steps, but diffusion.process "
                f"{self.diffusion.process} has none of its own; use the method ode"
            )
        return self

    @model_validator(mode="after")
    def _spoken_of(self) -> Self:
        # Where the source names the classes, the stage register sees whether the model has these.
        known = self.prepare.classes
        unknown = [name for name in self.prompts.synonyms if known and name not in known]
        if unknown:
            raise ValueError(
                f"prompts.synonyms names the class {unknown[0]!r}, but prepare.classes has {', '.join(known or ())}"
            )
        return self

    def tracked(self) -> dict[str, Any]:
        """Every parameter that may decide a result, nested, with the preset's values: all but `runtime`."""
        return self.model_dump(exclude={"runtime"})
