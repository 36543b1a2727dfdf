"""Where a served model comes from, what is said where there is none, and how a better one takes its place."""

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.params import load_params
from rediffuse.serving.answers import Answers
from rediffuse.serving.batching import Batcher
from rediffuse.serving.models import Models, Source, default_source, source
from rediffuse.serving.models.edition import Edition, Listing, load
from rediffuse.serving.models.registry import RegisteredVersion, Registry
from rediffuse.serving.package import SETTINGS, WEIGHTS, write_package
from rediffuse.workspace import Workspace
from tests.serving.tiny import CLASSES, asked, tiny, trained, write_tiny
from tests.tracking.conftest import CHECKOUT, _own_store  # noqa: F401

NAME = "rediffuse-digits"


@dataclass(frozen=True)
class Registered:
    """A checkout whose registry has version 1, another version 2, and version 3, whose weights are damaged."""

    workspace: Workspace
    client: MlflowClient
    run_id: str
    packages: tuple[Path, ...]

    def crown(self, version: int) -> None:
        self.client.set_registered_model_alias(NAME, "champion", str(version))

    def source(self, text: str = f"models:/{NAME}@champion") -> Source:
        return source(text, self.workspace)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Registered:
    folder = tmp_path_factory.mktemp("registered")
    workspace = trained(Workspace.at(folder), params := tiny(), CLASSES)
    packages = tuple(folder / "packages" / str(number) for number in (1, 2, 3))
    workspace.model_card.parent.mkdir()
    workspace.model_card.write_text("# Digits\n")
    shutil.copy(CHECKOUT / "params.yaml", folder)
    write_package(packages[0], workspace, params.sample, params.runtime)
    for package in packages[1:]:
        shutil.copytree(packages[0], package)
    shutil.copy(workspace.raw, packages[1] / "artifacts" / WEIGHTS)
    (packages[2] / "artifacts" / WEIGHTS).write_bytes(workspace.denoiser.read_bytes()[:-100])
    # A server never runs what lies beside the weights.
    for package in packages:
        (package / "code" / "rediffuse" / "__init__.py").write_text("raise SystemExit('the code of a package ran')")
    shutil.copy(empty_database, workspace.tracking_database)
    client = MlflowClient(f"sqlite:///{workspace.tracking_database}")
    experiment = client.create_experiment("digits", artifact_location=workspace.tracking_artifacts.as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(packages[0]), "model")
    client.create_registered_model(NAME)
    client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    for package in packages[1:]:
        client.create_model_version(NAME, package.as_uri())
    return Registered(workspace, client, run.info.run_id, packages)


@pytest.fixture(autouse=True)
def champion(registered: Registered) -> None:
    registered.crown(1)


class Clock:
    """Tells the time that a test sets, and counts what is loaded."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loads: list[str] = []

    def __call__(self) -> float:
        return self.now

    def load(self, edition: Edition) -> Answers:
        self.loads.append(str(edition))
        return load(edition)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def models(registered: Registered, clock: Clock) -> Iterator[Models]:
    made = Models(registered.source(), poll=3600, kept=1, load=clock.load, clock=clock)
    made.start()
    yield made
    made.close()


def test_alias_version_run_folder_and_file_give_the_weights_they_name_and_leave_nothing_behind(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace = registered.workspace
    first, second = files.sha256(workspace.denoiser), files.sha256(workspace.raw)
    for text, name, version, identity, card in (
        (f"models:/{NAME}@champion", NAME, "1", first, "# Digits\n"),
        (f"models:/{NAME}/2", NAME, "2", second, "# Digits\n"),
        (f"runs:/{registered.run_id}", f"runs:/{registered.run_id}", None, first, "# Digits\n"),
        (str(registered.packages[1]), "2", None, second, "# Digits\n"),
        (str(registered.packages[1] / "artifacts" / WEIGHTS), "artifacts", None, second, ""),
        (str(workspace.denoiser), WEIGHTS, None, first, "# Digits\n"),
        (str(workspace.raw), "raw.safetensors", None, second, ""),
    ):
        edition = registered.source(text).newest()
        assert (edition.name, edition.version) == (name, version)
        assert edition == registered.source(text).newest()
        answers = load(edition)
        assert (answers.identity, answers.card) == (identity, card)
        assert list(tmp_path.iterdir()) == []
    assert str(default_source(workspace).newest()) == f"models:/{NAME}/1"


def test_weights_are_loaded_where_no_others_are_and_a_file_that_goes_before_it_is_read_is_a_line(
    registered: Registered, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(registered.workspace.root / "params.yaml", tmp_path)
    other = Path(shutil.copy(registered.workspace.raw, tmp_path / "models" / "other.safetensors"))
    edition = source(str(other)).newest()
    assert load(edition).identity == files.sha256(other)
    other.unlink()
    with pytest.raises(UserError, match=r"other\.safetensors can't be loaded \(.*No such file"):
        load(edition)


def test_what_is_not_there_is_a_line_that_says_what_is(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "MLmodel").write_text("flavors: {}\n")
    other = MlflowClient(registered.client.tracking_uri)
    version = other.create_model_version(NAME, foreign.as_uri()).version
    for text, message in (
        ("models:/nobody@champion", f"there is no registered model 'nobody' in sqlite:///.*; there is {NAME}"),
        (f"models:/{NAME}@best", f"models:/{NAME} has no alias 'best'; there is @champion, /4, /3, /2, /1"),
        (f"models:/{NAME}/9", f"models:/{NAME} has no version 9; there is @champion, /4, /3, /2, /1"),
        (f"models:/{NAME}", f"names no model; allowed are models:/NAME@ALIAS.*; registered are {NAME}"),
        ("runs:/0000", f"there is no run '0000' in .*; those with a registered model are {registered.run_id}"),
        ("nowhere", "'nowhere' names no model, and is no folder and no file; allowed are"),
        (str(tmp_path), "is no package of rediffuse's"),
        (str(tmp_path / "models" / "a.safetensors"), "a.safetensors is not there"),
        (str(registered.packages[2]), "denoiser.safetensors is not a safetensors file"),
        (f"models:/{NAME}/{version}", f"models:/{NAME}/4 is no package of rediffuse's: it holds MLmodel, not"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            load(registered.source(text).newest())
        assert "\n" not in str(refused.value)
    other.delete_model_version(NAME, version)

    packed = shutil.copytree(registered.packages[0] / "artifacts", tmp_path / "packed")
    (packed / SETTINGS).write_text('{"sample": {}}')
    with pytest.raises(UserError, match="is of another version of rediffuse: sample"):
        load(registered.source(str(packed)).newest())

    empty = Workspace.at(tmp_path / "empty")
    for call in (lambda: source("models:/a@b", empty), lambda: default_source(empty)):
        with pytest.raises(UserError, match=re.escape(f"{empty.tracking_database} is missing")):
            call()
    assert not empty.root.exists()
    shutil.copytree(registered.workspace.denoiser.parent, empty.denoiser.parent)
    shutil.copy(CHECKOUT / "params.yaml", empty.root)
    assert str(default_source(empty).newest()) == str(empty.denoiser)

    registered.client.create_registered_model("another")
    with pytest.raises(UserError, match=f"2 registered models .*: models:/another@champion, models:/{NAME}@champion"):
        default_source(registered.workspace)
    registered.client.delete_registered_model("another")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:1/none")
    with pytest.raises(TryAgainError, match="can't be read now") as away:
        registered.source()
    assert "secret" not in str(away.value)


def test_a_version_that_can_not_be_had_now_is_not_told_as_one_that_never_can(
    registered: Registered, clock: Clock
) -> None:
    away = [False]

    def loaded(edition: Edition) -> Answers:
        if away[0]:
            raise TryAgainError("the store is away")
        return load(edition)

    models = Models(registered.source(), load=loaded, clock=clock)
    models.start()
    away[0] = True
    # Also while it is not tried again.
    for _ in range(2):
        with pytest.raises(TryAgainError, match="the store is away"):
            models.named("2")
    models.close()


def test_other_models_stand_beside_the_served_one_as_they_were_at_the_start(
    registered: Registered, clock: Clock, tmp_path: Path
) -> None:
    file = write_tiny(tmp_path / "another", number=7)
    beside = [registered.source(f"models:/{NAME}/2"), registered.source(str(file))]
    models = Models(registered.source(), beside=beside, load=clock.load)
    models.start()
    default, second, other = models.current(), models.named(f"{NAME}/2"), models.named(file.name)
    assert len({each.answers.identity for each in (default, second, other)}) == 3
    assert [(each.name, each.version) for each in models.listed() if each.name] == [
        (NAME, f"{NAME}/2"),
        (file.name, file.name),
    ]
    registered.crown(2)
    models.look()
    # What moves is the default alone.
    assert models.current().version == "2"
    assert models.named(f"{NAME}/2") is second
    models.close()
    twice = Models(registered.source(), beside=[registered.source(str(file))] * 2, load=clock.load)
    with pytest.raises(UserError, match=f"two models to serve beside .* are called {file.name}"):
        twice.start()


def test_the_model_is_swapped_between_two_requests_and_who_was_checked_against_the_old_is_drawn_by_it(
    registered: Registered, models: Models, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    old = models.current()
    batcher = Batcher(most_waiting=10)
    before = batcher.submit(old.answers, [asked(old.answers, 1)])
    registered.crown(2)
    models.look()
    new = models.current()
    after = batcher.submit(new.answers, [asked(new.answers, 1)])
    batcher.start()
    images = [before.result(30)[0], after.result(30)[0]]
    batcher.close()
    assert (old.version, new.version) == ("1", "2")
    for served, image in zip((old, new), images, strict=True):
        assert np.array_equal(served.answers.images([asked(served.answers, 1)])[0], image)
    assert not np.array_equal(*images)
    # Still loaded, for who compares the two.
    assert models.named("1") is old
    models.look()
    assert clock.loads == [f"models:/{NAME}/1", f"models:/{NAME}/2"]
    assert models.swaps == 1
    assert capfd.readouterr().err == f"serves models:/{NAME}/2 now, in place of models:/{NAME}/1\n"


def test_a_damaged_new_version_leaves_the_old_one_and_is_tried_again_after_a_while(
    registered: Registered, models: Models, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    old = models.current()
    registered.crown(3)
    for now, loads in ((0.0, 2), (59.0, 2), (60.0, 3)):
        clock.now = now
        models.look()
        assert models.current() is old
        assert len(clock.loads) == loads
        assert str(models.trouble).startswith(f"models:/{NAME}/3: denoiser.safetensors is not a safetensors file")
    told = capfd.readouterr().err.splitlines()
    assert told == [f"still serves models:/{NAME}/1: {models.trouble}"]
    registered.crown(2)
    assert models.swaps == 0
    models.look()
    assert (models.trouble, models.current().version, models.swaps) == (None, "2", 1)


def test_versions_are_loaded_once_on_request_and_the_one_longest_unasked_goes(
    registered: Registered, models: Models, clock: Clock
) -> None:
    assert [(each.version, each.aliases) for each in models.listed()] == [("3", ()), ("2", ()), ("1", ("champion",))]
    assert models.named("1") is models.current()
    with pytest.raises(KeyError):
        models.named("9")
    gate, given = threading.Barrier(4), []

    def client() -> None:
        gate.wait(30)
        given.append(models.named("2"))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(30)
    assert len(given) == 4
    assert {id(each) for each in given} == {id(models.named("2"))}
    for _ in range(2):
        with pytest.raises(UserError, match="not a safetensors file"):
            models.named("3")
    again = models.named("2")
    assert again is not given[0]
    # What can't be loaded takes nobody's place, while it is not tried again.
    with pytest.raises(UserError, match="not a safetensors file"):
        models.named("3")
    assert models.named("2") is again
    assert clock.loads == [f"models:/{NAME}/{version}" for version in (1, 2, 3, 2)]


def test_what_may_be_loaded_later_says_so_to_all_who_ask_meanwhile(
    models: Models, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(edition: Edition) -> Answers:
        raise TryAgainError(f"{edition} does not fit into memory")

    with monkeypatch.context() as patched:
        patched.setattr(models, "_load", full)
        for _ in range(2):
            with pytest.raises(TryAgainError, match="does not fit"):
                models.named("2")
    clock.now = 60.0
    assert models.named("2").version == "2"


@dataclass
class Shelf:
    """A source of versions without files, whose newest one moves."""

    now: str = "1"

    def newest(self) -> Edition:
        return self.at(Listing(self.now, (), 0))

    def listed(self) -> list[Listing]:
        return [Listing(version, (), 0) for version in "54321"]

    def at(self, listing: Listing) -> Edition:
        return RegisteredVersion(Registry("none"), "shelf", listing.version, listing.created)


def test_as_many_other_versions_stay_as_are_kept_those_that_were_asked_for_last(clock: Clock) -> None:
    shelf, loads = Shelf(), clock.loads
    models = Models(shelf, poll=3600, kept=2, load=lambda edition: loads.append(str(edition)[-1]))  # type: ignore[arg-type,func-returns-value]
    models.start()
    for version in ("2", "3", "2", "4", "2", "3"):
        assert models.named(version).version == version
    assert loads == ["1", "2", "3", "4", "3"]
    # What becomes the current one takes no place among the others, and the one before it takes one.
    shelf.now = "2"
    models.look()
    assert [models.named(version).version for version in ("1", "3")] == ["1", "3"]
    assert loads == ["1", "2", "3", "4", "3"]
    shelf.now = "5"
    models.look()
    assert [models.named(version).version for version in ("2", "3")] == ["2", "3"]
    assert loads == ["1", "2", "3", "4", "3", "5"]
    assert models.named("1").version == "1"
    assert loads[-1] == "1"
    models.close()


def test_a_file_that_is_trained_anew_is_followed(registered: Registered, tmp_path: Path, clock: Clock) -> None:
    shutil.copytree(registered.workspace.denoiser.parent, tmp_path / "models")
    text = (CHECKOUT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub(r"label_drop: 0\.1\b", "label_drop: 0.0", text))
    workspace = Workspace.at(tmp_path)
    models = Models(source(str(workspace.denoiser)), poll=3600, load=clock.load)
    models.start()
    assert models.listed() == []
    own = models.current().answers
    assert "train.label_drop" in str(own.unguided)
    assert own.needs_label == own.unguided
    assert own.vocabulary.frames == tuple(load_params(workspace.params).prompts.frames) != ()
    models.look()
    assert len(clock.loads) == 1
    files.write_bytes(workspace.denoiser, workspace.raw.read_bytes())
    models.look()
    assert models.current().answers.identity == files.sha256(workspace.raw)
    workspace.denoiser.unlink()
    models.look()
    assert models.current().answers.identity == files.sha256(workspace.raw)
    assert str(models.trouble).endswith("denoiser.safetensors is not there")
    models.close()
