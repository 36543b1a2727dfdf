"""The extractor `custom`: a user's own network, as a file that torch runs, or as a class of Python.

Either takes uint8 images (B, C, H, W), as they are in the data set, and gives floats (B, d), d two or more.
"""

import hashlib
import importlib
import inspect
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.batches import LARGE_BATCH, finite, in_batches
from rediffuse.evaluation.extractors.extractor import ExtractorSettings, Features, Images, described
from rediffuse.evaluation.extractors.weights import folder_digest, needed_file

_WANTED = f"it must take uint8 images (B, C, H, W), B is {LARGE_BATCH}, and give floats (B, d), d two or more"


@dataclass(frozen=True)
class CustomExtractor:
    """Whatever the user's function gives, unscaled.

    Args:
        given: `reference.custom`, for messages.
    """

    digest: str
    function: Callable[[Tensor], Any]
    given: str
    device: torch.device

    name = "custom"

    def extract(self, images: Images) -> Features:
        # A batch of black images tells the number of dimensions; it is thrown away.
        blank = torch.zeros((LARGE_BATCH, *images.shape[1:]), dtype=torch.uint8, device=self.device)
        with torch.no_grad():
            columns = self._features(blank).shape[1]
        found = in_batches(self._features, images, columns, self.device, LARGE_BATCH)
        return finite(found, f"reference.custom {self.given}", "it must give numbers for every image")

    def _features(self, images: Tensor) -> Tensor:
        try:
            found = self.function(images)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"reference.custom {self.given} fails on images of {tuple(images.shape)}: "
                f"{type(error).__name__}: {reason}; {_WANTED}"
            ) from error
        if not isinstance(found, Tensor):
            raise UserError(f"reference.custom {self.given} gives {type(found).__name__}, not a tensor; {_WANTED}")
        shape = tuple(found.shape)
        if len(shape) != 2 or shape[0] != len(images) or shape[1] < 2 or not found.is_floating_point():
            raise UserError(f"reference.custom {self.given} gives {found.dtype} {shape}; {_WANTED}")
        return found.float()


def read_custom(settings: ExtractorSettings, folder: Path, device: torch.device) -> CustomExtractor:  # noqa: ARG001
    """What `reference.custom` names.

    Raises:
        UserError: there is no such file, module or class, or it can't be loaded.
    """
    given = settings.custom or ""
    if ":" in given:
        function, digest = _of_class(given, settings.weights, device)
    else:
        path = needed_file("custom", settings)
        function, digest = _of_file(path, device), described(extractor="custom", file=files.sha256(path))
    return CustomExtractor(digest, function, given, device)


def _of_file(path: Path, device: torch.device) -> Callable[[Tensor], Any]:
    """A program of torch.export (.pt2), or a TorchScript module, which torch still loads but no longer recommends."""
    foreign = f"params.yaml: reference.custom is {path.name}, which"
    expected = "export it with torch.export.save to a file that ends in .pt2, or with torch.jit.save"
    if not zipfile.is_zipfile(path):
        raise UserError(f"{foreign} is neither a TorchScript file nor an exported program; {expected}")
    try:
        if path.suffix == ".pt2":
            program = torch.export.load(path)
            if device.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            return program.module()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.load` is", FutureWarning)
            module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
        scripted: nn.Module = module.eval()
        return scripted
    # Another kind for each way a file can be damaged.
    except Exception as error:
        raise UserError(f"{foreign} torch can't load: {' '.join(str(error).split())[:300]}; {expected}") from None


def _of_class(given: str, folder: Path, device: torch.device) -> tuple[Callable[[Tensor], Any], str]:
    """An object of module:Class, and the digest of what may decide its features.

    That is the module's source and the state of the object where it is a network. A module in the folder of weights may
    read any file there, so all of them count.
    """
    name, _, attribute = given.partition(":")
    where = f"params.yaml: reference.custom is {given}, but"
    try:
        with _importable(name, folder):
            module = importlib.import_module(name)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"{where} the module can't be imported from {folder} or the Python path: {reason}") from error
    made = getattr(module, attribute, None)
    if not callable(made):
        raise UserError(f"{where} {name} has no class {attribute}")
    try:
        found = made()
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"{where} {attribute}() fails: {reason}; it is called without arguments") from error
    if not callable(found):
        raise UserError(f"{where} {attribute}() can't be called; {_WANTED}")
    source = inspect.getsourcefile(module)
    ours = source is not None and Path(source).resolve().is_relative_to(folder.resolve())
    digest = described(
        extractor="custom",
        custom=given,
        source=files.sha256(Path(source)) if source else None,
        folder=folder_digest(folder) if ours else None,
        state=_state_digest(found) if isinstance(found, nn.Module) else None,
    )
    return found.to(device).eval() if isinstance(found, nn.Module) else found, digest


@contextmanager
def _importable(name: str, folder: Path) -> Iterator[None]:
    """Let the folder come first on Python's path, and what it holds now before what was loaded of it or by that name.

    No bytecode is written: the folder is a dependency, and its age is told in whole seconds.
    """
    top = name.partition(".")[0]
    ours = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
    for loaded, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (ours and loaded.partition(".")[0] == top) or (file and Path(file).is_relative_to(folder)):
            del sys.modules[loaded]
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before


def _state_digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        kept = value.detach().cpu().contiguous()
        digest.update(f"{name} {kept.dtype} {tuple(kept.shape)}\n".encode())
        digest.update(kept.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
