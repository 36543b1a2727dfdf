"""params.yaml is sound, or one line says what, where and what is allowed."""

import itertools
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from rediffuse.errors import UserError
from rediffuse.params import (
    DiffusionParams,
    LikelihoodParams,
    ModelParams,
    Params,
    PrepareParams,
    SampleParams,
    TrainParams,
    flatten,
    known_keys,
    load_params,
)
from rediffuse.params.loading import suggestions

REPOSITORY = Path(__file__).parents[1]
DEFAULT = (REPOSITORY / "params.yaml").read_text()


def load(tmp_path: Path, **changes: object) -> Params:
    """The default parameters with some changed, as `dvc exp run -S key=value` would: dots are written as __."""
    document = yaml.safe_load(DEFAULT.replace("1.0e-4", "0.0001"))
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = document
        for section in sections:
            place = place[section]
        place[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_params(path)


def test_every_default_is_valid_and_every_key_has_a_comment_or_is_a_section():
    params = load_params(REPOSITORY / "params.yaml")
    assert params.train.lr == 2e-3
    bare = [line for line in DEFAULT.splitlines() if re.match(r"\s*\w+:\s+\S", line) and "#" not in line]
    assert bare == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__lrr": 1e-3}, "train.lrr is not a known key; did you mean train.lr?"),
        ({"prepar": {}}, "prepar is not a known key; did you mean prepare?"),
        ({"train__lr": "abc"}, "train.lr is 'abc': input should be a valid number"),
        ({"train__lr": True}, "train.lr is True: input should be a valid number"),
        ({"train__steps": True}, "train.steps is True: input should be a valid integer"),
        ({"train__steps": 10.5}, "train.steps is 10.5: input should be a valid integer"),
        ({"train__lr": -1.0}, "train.lr is -1.0: input should be greater than 0"),
        ({"train__lr": float("nan")}, "train.lr is nan: input should be a finite number"),
        ({"train__steps": 0}, "train.steps is 0: input should be greater than or equal to 1"),
        ({"prepare__source": "digit"}, "prepare.source is 'digit': input should be 'digits', 'idx', 'folder', 'p"),
        ({"prepare__classes": ["cat", "cat"]}, "prepare.classes names 'cat' twice"),
        ({"prepare__about__retrieved": "yesterday"}, "prepare.about.retrieved is 'yesterday': string should match"),
        ({"train__lr": 1e10}, "train.lr is 10000000000.0: input should be less than or equal to 1000000000"),
        ({"train__steps": 10**12}, "train.steps is 1000000000000: input should be less than or equal to 1000000000"),
        ({"train__steps": -1}, "train.steps is -1: input should be greater than or equal to 1"),
        ({"train": None}, "train is None: a mapping of keys is expected"),
        ({"model__unet": [1]}, "model.unet is [1]: a mapping of keys is expected"),
        ({"prepare__source": "x\ny" * 99}, "prepare.source is 'x\\nyx\\nyx"),
        ({"two\nlines": 1}, "two\\nlines is not a known key"),
        ({"train__batch_size": 100}, "train.batch_size is 100, not a multiple of train.microbatch (128)"),
        (
            {"train__microbatch": 32, "runtime__processes": 3},
            "runtime.processes is 3, but train.batch_size 128 and train.microbatch 32 make 4 microbatches a step",
        ),
        (
            {"clean__size": 30, "model__unet__multipliers": [1, 1, 1]},
            "clean.size is 30, but model.unet with patch 2 and 3 levels needs a multiple of 8",
        ),
        (
            {"clean__size": 28, "model__name": "article_unet"},
            "clean.size is 28, but model.name article_unet needs a multiple of 8",
        ),
        ({"sample__count": 3}, "sample.count is 3, not above evaluate.neighbours (3)"),
        ({"sample__classes": {"3": 1.0, 3: 1.0}}, "sample.classes names a class twice"),
        (
            {"evaluate__verdicts__fidelity": ["fidelity.fdd <= 1"]},
            "evaluate.verdicts.fidelity: metrics/evaluate.json never has a fidelity.fdd; did you mean fidelity.fd",
        ),
        (
            {"evaluate__verdicts__memorisation": ["memorisation.ct"]},
            "evaluate.verdicts.memorisation: 'memorisation.ct' is no condition: one comparison with",
        ),
        ({"evaluate__verdicts__diversity": [1]}, "evaluate.verdicts.diversity.0 is 1: input should be a valid string"),
        ({"evaluate__fail_on": ["quality"]}, "evaluate.fail_on.0 is 'quality': input should be 'fidelity', 'diver"),
        (
            {"register__require": ["fidelity.fd <= 1", "exec('1') < 1"]},
            "register.require: \"exec('1') < 1\" is no condition: it may hold names of scores, numbers, + - * / and",
        ),
        ({"register__metric": "utility.cas_acuracy"}, "register.metric: metrics/evaluate.json never has a utility.cas"),
        ({"register__metric": "2 * fidelity.fd"}, "register.metric: '2 * fidelity.fd' is no name of a score"),
        ({"register__alias": "the best"}, "register.alias is 'the best': string should match pattern"),
        ({"register__alias": "v3"}, "register.alias is 'v3', which MLflow keeps for itself; use another word"),
        ({"register__name": "a/b"}, "register.name is 'a/b': string should match pattern"),
        (
            {"prompts__synonyms": {"cat": ["pet"], "dog": ["Pet"]}},
            "prompts.synonyms has 'Pet' for 'cat' and for 'dog'; a word may mean one class",
        ),
        ({"prompts__synonyms": {"3": ["tres", " "]}}, "prompts.synonyms.3 has an empty word"),
        ({"prompts__synonyms": {"3": ["a"], 3: ["b"]}}, "prompts.synonyms names a class twice"),
        ({"prompts__synonyms": {"3": "tres"}}, "prompts.synonyms.3 is 'tres': input should be a valid tuple"),
        ({"prompts__synonyms": {"3": ["image"]}}, "prompts.frames has 'image', which prompts.synonyms has for '3'"),
        ({"prompts__frames": ["the"]}, "prompts.frames has 'the', which only joins other words; take it out"),
        (
            {"prompts__synonyms": {"cta": ["kitty"]}, "prepare__classes": ["cat", "dog"]},
            "prompts.synonyms names the class 'cta', but prepare.classes has cat, dog",
        ),
        ({"model__unet__width": 50}, "50, not a multiple of model.unet.groups (8)"),
        (
            {"train__shard": True, "runtime__profile": "channels_last"},
            "runtime.profile is channels_last, but train.shard",
        ),
        ({"train__microbatch": 64, "runtime__profile": "graphs"}, "runtime.profile is graphs, whose memory holds"),
        ({"train__ema_start": 2000}, "train.ema_start is 2000, not below train.steps"),
        ({"train__label_drop": 0.0, "sample__guidance": 2.0}, "with train.label_drop 0 the model never learns"),
        ({"sample__eta": 0.5}, "sample.eta is 0.5, but sample.sampler dpmpp_2m has none; use 0, or the sampler ddim"),
        ({"sample__eta": 1.5, "sample__sampler": "ddim"}, "sample.eta is 1.5, but sample.sampler ddim takes 0 to 1"),
        ({"sample__eta": 0.5, "sample__sampler": "ancestral"}, "sample.eta is 0.5, but sample.sampler ancestral has"),
        (
            {"sample__variance": "process"},
            "sample.variance is process, but sample.sampler dpmpp_2m has no choice of it",
        ),
        ({"sample__churn": 5.0, "sample__sampler": "ddim"}, "sample.churn is 5.0, but sample.sampler ddim has none"),
        ({"sample__corrector_steps": 1}, "sample.corrector_steps is 1, but sample.sampler dpmpp_2m can't be"),
        ({"sample__churn_levels": [3.0, 0.1]}, "sample.churn_levels is [3.0, 0.1]: the first must be below the second"),
        ({"sample__guidance_levels": [1.0]}, "sample.guidance_levels"),
        (
            {"diffusion__preset": "ddpm", "diffusion__ddpm__steps": 10, "sample__grid": None, "sample__steps": None},
            "sample.steps is 1000 on sample.grid discrete, more than diffusion.ddpm.steps (10) has; use as many or",
        ),
        (
            {"sample__grid": "discrete"},
            "sample.grid is discrete, but diffusion.process edm has no steps of its own; use the grid uniform",
        ),
        (
            {"diffusion__preset": "ddpm", "sample__sampler": "annealed_langevin"},
            "sample.sampler is annealed_langevin, which needs noise that only grows over the data, but "
            "diffusion.process is ddpm; use",
        ),
        (
            {"evaluate__likelihood__solver": "ancestral"},
            "evaluate.likelihood.solver is ancestral, which can't carry a density, as evaluate.likelihood.method ode",
        ),
        (
            {"evaluate__likelihood__method": "bound"},
            "evaluate.likelihood.method is bound, which is a sum over steps, but diffusion.process edm has none",
        ),
        (
            {"diffusion__weighting": "likelihood"},
            "diffusion.weighting likelihood is stated for times drawn uniformly, but diffusion.noise_levels is lognor",
        ),
        (
            {"sample__guidance": 2.0, "sample__guidance_reference": "snapshot", "train__snapshots": 0},
            "sample.guidance is 2.0, but sample.guidance_reference is snapshot and train.snapshots 0; use the "
            "reference label, or train.snapshots above 0, or sample.guidance 1",
        ),
        ({"sample__ema_length": 0.05}, "sample.ema_length is 0.05, but only train.ema power"),
        (
            {"sample__sampler": "ode", "sample__guidance": 2.0, "sample__guidance_levels": [0.1, 2.0]},
            "sample.guidance is 2.0, but sample.sampler ode can't bound its error across the ends of "
            "sample.guidance_levels [0.1, 2.0]; use null there, or another sampler, or sample.guidance 1",
        ),
        ({"sweep__guidance": [1.0, 2.0, 1.0]}, "sweep.guidance is [1.0, 2.0, 1.0]: each may stand once"),
        ({"sweep__steps__heun": [3, 3]}, "sweep.steps.heun is [3, 3]: each may stand once"),
        (
            {"sweep__count": 3},
            "sweep.count is 3, not above evaluate.neighbours (3)",
        ),
        ({"diffusion__preset": "ddmp"}, "diffusion.preset is 'ddmp': input should be 'ddpm', 'ddpm_v', 'ncsn'"),
        ({"diffusion__ve__sigma_min": 60.0}, "diffusion.ve.sigma_min is 60.0, not below diffusion.ve.sigma_max (50.0)"),
        ({"diffusion__edm__sigma_min": 90.0}, "diffusion.edm.sigma_min is 90.0, not below diffusion.edm.sigma_max"),
        ({"diffusion__ddpm__beta_start": 0.03}, "diffusion.ddpm.beta_start is 0.03, not below"),
        ({"diffusion__ddpm__beta_end": 0.5}, "diffusion.ddpm.beta_end is 0.5: input should be less than or equal"),
        ({"model__unet__multipliers": []}, "model.unet.multipliers is []"),
        ({"sample__classes": {}}, "sample.classes is {}"),
        ({"sample__classes": {"3": 1e308}}, "sample.classes.3 is 1e+308: input should be less than or equal"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(tmp_path: Path, changes: dict[str, object], message: str):
    with pytest.raises(UserError) as caught:
        load(tmp_path, **changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sample__batch_size": 1},
        # The sweep's scales are a default, and no reason to refuse a model that can't be guided.
        {"train__label_drop": 0.0},
        {"sample__guidance_reference": "snapshot", "train__snapshots": 0},
        {"sample__sampler": "ode", "sample__guidance_levels": [0.1, 2.0]},
        {"sample__batch_size": 1000, "sample__count": 50_000},
        {"runtime__workers": 384, "runtime__loaders": 512, "runtime__threads": 128},
        {"train__ema_decay": 0.9999, "train__steps": 10_000_000, "train__lr": 1, "train__weight_decay": 0.0},
        {"train__batch_size": 4096, "train__microbatch": 1, "runtime__processes": 1024},
        {"diffusion__ve__sigma_max": 1348.0, "diffusion__ddpm__beta_end": 0.012, "diffusion__cosine__steps": 4000},
        {"sample__sampler": "heun", "sample__churn": 80, "sample__churn_levels": [0, 1e9], "sample__steps": 256},
        {"sample__churn_noise": 1.007, "sample__sampler": None, "sample__grid": None, "sample__steps": None},
        {"model__unet__multipliers": [1, 1, 2, 2, 4, 4], "model__unet__width": 256, "model__unet__head_channels": 64},
        {"prepare__shard_rows": 100_000, "clean__size": 1024, "clean__decode__max_pixels": 178_956_970},
    ],
)
def test_numbers_that_people_use_are_taken(tmp_path: Path, changes: dict[str, object]):
    load(tmp_path, **changes)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train.lrr", "train.lr"),
        ("train.microbach", "train.microbatch"),
        ("sample.batchsize", "sample.batch_size"),
        ("train.batchSize", "train.batch_size"),
        ("train.grad-clip", "train.grad_clip"),
        ("train.ema_dcay", "train.ema_decay"),
        ("train.horizontalflip", "train.horizontal_flip"),
        ("train.guard.spikes", "train.guard.spike"),
        ("train.spike", "train.guard.spike"),
        ("train.dropout", "model.unet.dropout"),
        ("lr", "reference.lr or train.lr"),
        ("microbatch", "train.microbatch"),
        ("batch_size", "reference.batch_size or train.batch_size or sample.batch_size"),
        ("sampler", "sample.sampler"),
        ("guidance", "sample.guidance or sweep.guidance"),
        ("preset", "diffusion.preset"),
        ("tracking", "runtime.tracking"),
        ("likelihood", "evaluate.likelihood or evaluate.verdicts.likelihood"),
        ("unet", "model.unet"),
        ("model.multipliers", "model.unet.multipliers"),
        ("model.unet.widht", "model.unet.width"),
        ("diffusion.steps", "diffusion.ddpm.steps or diffusion.cosine.steps or diffusion.ve.steps"),
        ("sample.gudance", "sample.guidance"),
        ("sample.ema_lenght", "sample.ema_length"),
        ("evaluate.kid_subset", "evaluate.kid_subsets"),
        ("evaluate.likelihood.solvr", "evaluate.likelihood.solver"),
        ("clean.sixe", "clean.size"),
        ("clean.checks.dupliate", "clean.checks.duplicate"),
        ("clean.checks.blank.rnge", "clean.checks.blank.range"),
        ("runtime.checkpoint_evry", "runtime.checkpoint_every"),
        ("Train", "train"),
        ("trian.lr", "train"),
        ("sed", "seed"),
        ("sample.n", "sample.count"),
        ("runtime.gpu", "runtime.device"),
        ("train.gpu", "runtime.device"),
        ("sample.cfg", "sample.guidance"),
        ("sample.guidance_scale", "sample.guidance"),
        ("model.unet.channels", "model.unet.width"),
        ("model.dim", "model.unet.width or model.article_unet.width"),
        ("train.learning_rate", "train.lr"),
        ("learning_rate", "reference.lr or train.lr"),
        ("train.batch", "train.batch_size"),
        ("train.epochs", "train.steps"),
        ("train.ema_rate", "train.ema_decay"),
        ("runtime.num_workers", "runtime.workers or runtime.loaders"),
        ("train.grad_clipping", "train.grad_clip"),
        ("train.lr_schedule", "train.schedule"),
        ("train.warmup", "train.warmup_share"),
        ("runtime.log_every", "train.log_every"),
        ("sample.threads", "runtime.threads"),
        ("model.width", "model.unet.width or model.article_unet.width"),
    ],
)
def test_a_mistyped_key_brings_the_one_that_was_meant(tmp_path: Path, typed: str, meant: str):
    """As `dvc exp run -S +typed=1` leaves it; a section that is not known stands for all below it."""
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT)
    apply_overrides(path, [f"+{typed}=1"])
    with pytest.raises(UserError) as caught:
        load_params(path)
    unknown = typed.removesuffix(".lr") if typed == "trian.lr" else typed
    assert str(caught.value) == f"params.yaml: {unknown} is not a known key; did you mean {meant}?"


def test_nothing_is_suggested_where_nothing_is_like_it():
    assert [suggestions(key) for key in ("zzzz", "train.zzzz", "x" * 80)] == [[], [], []]


def test_no_section_is_suggested_for_what_was_typed_below_it():
    names = itertools.cycle(("n", "x", "gpu", "zzzz", "steps_"))
    typed = [f"{section}.{name}" for section, name in zip(known_keys(), names, strict=False)]
    assert [key for key in typed for other in suggestions(key) if key.startswith(f"{other}.")] == []


@pytest.mark.parametrize(("sizes", "taken"), [([], True), ([4], False)])
def test_the_width_of_a_head_counts_only_where_there_is_attention(tmp_path: Path, sizes: list[int], taken: bool):
    from rediffuse.networks import build_network

    changes = {"model__unet__width": 24, "model__unet__attention_sizes": sizes, "model__unet__head_channels": 16}
    if taken:
        settings = load(tmp_path, **changes).model.unet.model_dump()
        assert build_network("unet", shape=(1, 8, 8), classes=0, settings=settings) is not None
    else:
        with pytest.raises(UserError, match=r"24, not a multiple of model.unet.head_channels \(16\)"):
            load(tmp_path, **changes)


@pytest.mark.parametrize(("name", "patch", "factor"), [("unet", 1, 4), ("unet", 2, 8), ("article_unet", 1, 8)])
@pytest.mark.parametrize("size", [8, 12, 28, 30, 32])
def test_a_size_that_the_network_can_not_halve_is_refused_and_no_other(
    tmp_path: Path, name: str, patch: int, factor: int, size: int
):
    from rediffuse.networks import build_network

    def refused(step: object) -> bool:
        try:
            step()
        except (UserError, ValueError):
            return True
        return False

    settings = {"patch": patch, "width": 8, "multipliers": (1, 1, 1), "head_channels": 8}
    if name == "article_unet":
        settings = {"width": 4}
    builds = refused(lambda: build_network(name, shape=(1, size, size), classes=0, settings=settings))
    unet = {"model__unet__patch": patch, "model__unet__multipliers": [1, 1, 1]}
    changes = {"clean__size": size, "model__name": name, **unet}
    assert refused(lambda: load(tmp_path, **changes)) == builds == bool(size % factor)


def test_a_class_named_by_a_number_needs_no_quotes(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT)
    apply_overrides(path, ["sample.classes={3:1.0,cat:2.0}", "+prompts.synonyms={3:[drei,33],cat:[kitty]}"])
    apply_overrides(path, ["+prompts.synonyms.7=[sieben]"])
    params = load_params(path)
    assert params.sample.classes == {"3": 1.0, "cat": 2.0}
    assert params.prompts.synonyms == {"3": ("drei", "33"), "cat": ("kitty",), "7": ("sieben",)}


def test_a_missing_key_is_named(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(?m)^seed:.*\n", "", DEFAULT))
    with pytest.raises(UserError, match=r"^params.yaml: seed is missing$"):
        load_params(path)


def test_the_names_that_params_allow_are_the_ones_the_registries_hold():
    from rediffuse.data.sources import SOURCES
    from rediffuse.diffusion import NOISE_LEVELS, PREDICTIONS, PROCESSES, SPREADS, WEIGHTINGS
    from rediffuse.networks import NETWORKS
    from rediffuse.presets import PRESETS
    from rediffuse.samplers import GRIDS, SAMPLERS
    from rediffuse.training.schedule import SCHEDULES

    def allowed(section: type, key: str) -> set[str]:
        literal = section.model_fields[key].annotation
        choices = [get_args(part) or (part,) for part in get_args(literal)] or [()]
        return {name for group in choices for name in group if isinstance(name, str)}

    assert allowed(PrepareParams, "source") == set(SOURCES)
    assert allowed(ModelParams, "name") == set(NETWORKS)
    assert allowed(DiffusionParams, "process") == set(PROCESSES)
    assert allowed(DiffusionParams, "prediction") == set(PREDICTIONS)
    assert allowed(DiffusionParams, "preset") == set(PRESETS)
    assert allowed(DiffusionParams, "weighting") == set(WEIGHTINGS)
    assert allowed(DiffusionParams, "noise_levels") == set(NOISE_LEVELS)
    assert allowed(DiffusionParams, "spread") == set(SPREADS)
    assert allowed(TrainParams, "schedule") == set(SCHEDULES)
    assert allowed(SampleParams, "grid") == set(GRIDS)
    assert allowed(SampleParams, "sampler") == set(SAMPLERS)
    assert allowed(LikelihoodParams, "solver") == set(SAMPLERS)


def test_a_corrector_is_allowed_where_steps_stand_alone_and_nowhere_else():
    from rediffuse.params.sampling import SINGLE_STEP
    from rediffuse.samplers import SAMPLERS, SamplerSettings
    from rediffuse.samplers.step import PerStep

    alone = {name for name, build in SAMPLERS.items() if isinstance(build(SamplerSettings()), PerStep)}
    assert set(SINGLE_STEP) == alone


def test_runtime_is_no_tracked_parameter():
    params = load_params(REPOSITORY / "params.yaml")
    tracked = flatten(params.tracked())
    assert "train.lr" in tracked
    assert not [name for name in tracked if name.startswith("runtime")]
    assert set(tracked) < set(known_keys())
