"""Images of a file of prompts: `python -m stages.generate --prompts rows.csv --out folder [--model SOURCE]`.

No stage of dvc.yaml, though it ends as one: its input is not the pipeline's, and what it makes is no out of the
parameters but of a file that anybody may write. The folder says itself what it was made of, and goes on after a kill.
"""

import argparse
import sys
from pathlib import Path

from rediffuse.errors import UserError
from rediffuse.leaving import stay
from rediffuse.params import load_params
from rediffuse.progress import image_bar
from rediffuse.serving.answers import Answers
from rediffuse.serving.jobs.folder import opened
from rediffuse.serving.jobs.items import Item, RowError, items_of
from rediffuse.serving.jobs.prompts_file import PromptsFile, PromptsFileError, read_prompts
from rediffuse.serving.jobs.running import Tally, complete
from rediffuse.serving.models import source
from rediffuse.serving.models.edition import load
from rediffuse.stage import disk_told, ending
from rediffuse.workspace import Workspace


def generate(prompts: Path, out: Path, answers: Answers, *, progress: bool) -> Tally:
    """Draw what the folder `out` lacks of the images that the file asks for.

    Raises:
        UserError: a row that can't be used (before anything is drawn), or a folder that holds something else.
    """
    asked = _read(prompts)
    items = _items(asked, answers)
    with (
        opened(out, asked.requests, answers, items) as folder,
        image_bar("generate", len(items), shown=progress) as bar,
    ):
        return complete(folder, items, answers, answers.images, bar)


def _read(prompts: Path) -> PromptsFile:
    try:
        return read_prompts(prompts.read_bytes(), str(prompts))
    except PromptsFileError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"--prompts: {prompts} can't be read: {error.strerror}") from None


def _items(asked: PromptsFile, answers: Answers) -> list[Item]:
    try:
        return items_of(asked.requests, answers)
    except RowError as error:
        raise UserError(f"{asked.place(error.row, error.field)}: {error}") from None


def _loaded(model: str | None, workspace: Workspace) -> Answers:
    """The model that the source names; None: the workspace's own, by its params.yaml."""
    return load(source(model or str(workspace.denoiser), workspace).newest())


def _shows_progress(workspace: Workspace) -> bool:
    """As the working folder says; with a model from elsewhere there need be no params.yaml."""
    return load_params(workspace.params).runtime.progress if workspace.params.exists() else True


def main(arguments: list[str] | None = None) -> None:
    """Generate, and print how many images were there and how many were drawn; ends as `run_stage` does."""
    options = _parser().parse_args(arguments)
    with ending("generate"):
        workspace = Workspace.here()
        with disk_told(workspace.root, workspace.home, options.out):
            progress = _shows_progress(workspace)
            tally = generate(options.prompts, options.out, _loaded(options.model, workspace), progress=progress)
            stay()
        sys.stdout.write(f"generate: {tally.there} images were there already, {tally.drawn} were drawn\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description="Draw a file of prompts.")
    parser.add_argument(
        "--prompts", metavar="FILE", type=Path, required=True, help="CSV with a header: prompt, label, seed, count, ..."
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="new or empty, or one where this job was begun"
    )
    parser.add_argument("--model", metavar="SOURCE", help="as `make serve` takes it; default: the model of this folder")
    return parser


if __name__ == "__main__":
    main()
