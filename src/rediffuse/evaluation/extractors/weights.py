"""The files of the extractors that are not made from the data: where they lie, and how they get there.

The stage `check` brings them, before any other stage looks at the folder: what it holds is part of the features.
`reference` sees to it again, for what went missing since. The module needs no torch; timm is imported to fetch its
weights, and to know its names.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.extractor import ExtractorSettings


@dataclass(frozen=True)
class Source:
    """A file on the network.

    Args:
        url: where it is fetched.
        sha256: the first digits of its SHA-256.
    """

    url: str
    sha256: str


INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SOURCE = Source(
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION}", sha256="6726825d"
)
_TIMEOUT = 60
_LIBRARIES = {"inception": ("torch_fidelity", "torch-fidelity"), "dinov2": ("timm", "timm")}
_INSTALL = "pip install 'rediffuse[extractors]'"


def check_library(name: str) -> None:
    """Refuse an extractor whose library is not installed.

    Raises:
        UserError: it is not.
    """
    if name in _LIBRARIES:
        module, package = _LIBRARIES[name]
        if importlib.util.find_spec(module) is None:
            raise UserError(f"reference.extractors names {name}, which needs {package}: {_INSTALL}")


def weights_file(name: str, settings: ExtractorSettings) -> Path | None:
    """The file that an extractor reads from `reference.weights`, there or not; None: it reads none that is known.

    Of dinov2's two possible names the one that is there, else the one that is fetched.
    """
    if name == "inception":
        return settings.weights / INCEPTION
    if name == "dinov2":
        native, converted = (settings.weights / f"{settings.dinov2}{suffix}" for suffix in (".safetensors", ".pth"))
        return converted if converted.is_file() and not native.is_file() else native
    if name == "custom" and settings.custom is not None and ":" not in settings.custom:
        named = Path(settings.custom)
        if named.is_absolute() or ".." in named.parts:
            # What lies elsewhere could change and no stage would notice.
            raise UserError(f"params.yaml: reference.custom is {named}, but must be a file in reference.weights")
        return settings.weights / named
    return None


def needed_file(name: str, settings: ExtractorSettings) -> Path:
    """The file of an extractor that reads one.

    Raises:
        UserError: it is not there.
    """
    path = weights_file(name, settings)
    if path is None or not path.is_file():
        raise _missing(name, settings)
    return path


def bring_weights(settings: ExtractorSettings, *, download: bool, elsewhere: Path) -> None:
    """See to it that there is the folder, for DVC looks into it, and in it what `bring_files` brings.

    Raises:
        UserError: there is none, and an extractor reads from it; or what `bring_files` raises.
    """
    if not settings.weights.is_dir():
        read = any(weights_file(name, settings) or name == "custom" for name in settings.extractors)
        if read and not (download or elsewhere.is_dir()):
            raise UserError(
                f"params.yaml: reference.weights is {settings.weights}, but there is no such folder; make it, or "
                "leave reference.weights at data/extractors"
            )
        settings.weights.mkdir(parents=True)
    bring_files(settings, download=download, elsewhere=elsewhere)


def bring_files(settings: ExtractorSettings, *, download: bool, elsewhere: Path) -> None:
    """See to it that every extractor that is named has its library and its file.

    Args:
        download: `reference.download`: fetch the weights of inception and dinov2 where they are missing.
        elsewhere: the same folder of the checkout that the experiment was started in: git takes no weights along into
            DVC's temporary folders, so a file that is missing is copied from there, and fetched to there, once for all.

    Raises:
        UserError: a library or a file is missing, or can't be fetched.
    """
    for name in settings.extractors:
        check_library(name)
        path = weights_file(name, settings)
        if path is None or path.is_file():
            continue
        names = [path.name, f"{settings.dinov2}.pth"] if name == "dinov2" else [str(path.relative_to(settings.weights))]
        if not _holds(elsewhere, names):
            if not download or name == "custom":
                raise _missing(name, settings)
            with _locked(elsewhere):
                # Another experiment may have fetched it while this one waited.
                if not _holds(elsewhere, names) and name == "inception":
                    fetch(INCEPTION_SOURCE, elsewhere / path.name)
                elif not _holds(elsewhere, names):
                    _fetch_from_timm(settings.dinov2, elsewhere / path.name)
        copy = next(copy for copy in names if _holds(elsewhere, [copy]))
        if not (settings.weights / copy).is_file():
            with files.replacing(settings.weights / copy) as temporary:
                shutil.copyfile(elsewhere / copy, temporary)


def _holds(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time fetches into a folder; it is made."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder's own descriptor: a file in it would be part of what DVC takes for the weights.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def fetch(source: Source, path: Path) -> None:
    """Write the file at a URL to `path`, whole or not at all.

    Raises:
        UserError: it can't be fetched, or is another file than expected.
    """
    advice = f"put the file there by hand as {path}, or set reference.download: false and leave the extractor out"
    try:
        with urllib.request.urlopen(source.url, timeout=_TIMEOUT) as answer, files.replacing(path) as temporary:
            with temporary.open("wb") as file:
                shutil.copyfileobj(answer, file)
            if not files.sha256(temporary).startswith(source.sha256):
                raise UserError(f"{source.url} is not the file it should be (its SHA-256 is another); {advice}")
    except (OSError, ValueError) as error:
        raise UserError(f"{source.url} can't be fetched: {error}; {advice}") from None


def _fetch_from_timm(model: str, path: Path) -> None:
    """Write timm's pretrained weights of a network as safetensors."""
    import timm
    import torch
    from safetensors.torch import save_file

    check_model(model)
    try:
        # Layers draw their first weights from the global generator.
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(model, pretrained=True, num_classes=0)
    # Another kind for each of the ways timm has to the network.
    except Exception as error:
        raise UserError(
            f"timm can't fetch the weights of {model}: {_line(error)}; put them there by hand as {path}, "
            "or set reference.download: false and leave dinov2 out"
        ) from None
    with files.replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)


def check_model(model: str) -> None:
    """Refuse a name that timm has no trained network by.

    Raises:
        UserError: it has none.
    """
    import difflib

    import timm

    if not timm.is_model_pretrained(model):
        near = difflib.get_close_matches(model, timm.list_models(pretrained=True), n=1)
        hint = f"did you mean {near[0]}?" if near else "timm.list_models(pretrained=True) lists the names"
        raise UserError(f"params.yaml: reference.dinov2 is {model}, of which timm has no trained network; {hint}")


def folder_digest(folder: Path) -> str:
    """Hex SHA-256 of the names and bytes of all files below a folder, but hidden ones and __pycache__."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            digest.update(f"{name.as_posix()}\n{files.sha256(path)}\n".encode())
    return digest.hexdigest()


def _missing(name: str, settings: ExtractorSettings) -> UserError:
    folder = settings.weights
    if name == "custom":
        found = f"params.yaml: reference.custom is {settings.custom}, but {folder} holds no such file"
        return UserError(f"{found}; put it there, or use module:Class")
    wanted = INCEPTION if name == "inception" else f"{settings.dinov2}.safetensors (or .pth)"
    return UserError(
        f"reference.extractors names {name}, but {folder} holds no {wanted}; put it there, "
        "or set reference.download: true and run `dvc repro -f -s check`"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
