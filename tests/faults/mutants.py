"""Case 13: plant a fault in a copy of the code, and see that a test fails; and none without it.

    python tests/faults/mutants.py [NAME ...]

Each mutant breaks one promise by one line. The tests that guard it run in the copy: first on the code as it is, where
they must pass, then on each mutant, where one must fail. Ends with 1 where a mutant survives.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Args:
        name: what is broken.
        file: below src/rediffuse or the checkout.
        old, new: text that stands there once, and what it becomes.
        tests: that guard it, as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


TRAINING = "tests/training/test_training.py"

MUTANTS = (
    Mutant(
        "noise from the global generator",
        "src/rediffuse/training/trainer.py",
        "noise = torch.randn(x0.shape, generator=draw, device=device)",
        "noise = torch.randn(x0.shape, device=device)",
        (f"{TRAINING}::test_a_killed_training_resumes_to_the_same_bytes",),
    ),
    Mutant(
        "one noise for all microbatches",
        "src/rediffuse/training/trainer.py",
        'draw = generator(seed, "train/noise", step, index, device)',
        'draw = generator(seed, "train/noise", step, 0, device)',
        (f"{TRAINING}::test_two_microbatches_are_one_batch_up_to_rounding",),
    ),
    Mutant(
        "files written in place",
        "src/rediffuse/files.py",
        'temporary = path.with_name(f".{os.getpid()}.{path.name}")',
        "temporary = path",
        ("tests/test_files.py",),
    ),
    Mutant(
        "a second metadata key",
        "src/rediffuse/model.py",
        "{_KEY: json.dumps(description, sort_keys=True)}",
        '{_KEY: json.dumps(description, sort_keys=True), "torch": torch.__version__}',
        ("tests/test_model.py",),
    ),
    Mutant(
        "metrics in the order of a set",
        "src/rediffuse/files.py",
        "sort_keys=True, ensure_ascii=False",
        "sort_keys=False, ensure_ascii=False",
        ("tests/test_files.py",),
    ),
    Mutant(
        "a fingerprint that forgets a part",
        "src/rediffuse/training/fit.py",
        "json.dumps(parts, sort_keys=True)",
        'json.dumps({**parts, "train": None}, sort_keys=True)',
        (f"{TRAINING}::test_the_fingerprint_is_one_for_equal_parts_and_another_for_any_change",),
    ),
    Mutant(
        "a checkpoint without the running mean",
        "src/rediffuse/training/guard.py",
        "self.memory = torch.stack([taken + accepted, mean, skipped + refused, row])",
        "self.memory = torch.stack([taken * 0 + 1, mean, skipped + refused, row])",
        ("tests/training/test_guard.py",),
    ),
    Mutant(
        "a bad step that is taken all the same",
        "src/rediffuse/training/trainer.py",
        "state.optimizer.found_inf = refused",
        "state.optimizer.found_inf = refused * 0",
        ("tests/training/test_guard.py",),
    ),
    Mutant(
        "a validation that is forgotten when training leaves in it",
        "src/rediffuse/training/pauses.py",
        "if self._due(self.params.validate_every) and not _has(self.curves.validation, step):",
        "if self._due(self.params.validate_every) and self._saved_step < step:",
        ("tests/faults/test_resume.py",),
    ),
    Mutant(
        "image i by its place in the batch",
        "src/rediffuse/samplers/generation.py",
        "generators = [generator(seed, STREAM, index=index) for index in indices]",
        "generators = [generator(seed, STREAM, index=place) for place, _ in enumerate(indices)]",
        ("tests/samplers/test_generation.py",),
    ),
    Mutant(
        "validation noise that is another each time",
        "src/rediffuse/training/validation.py",
        'noise = torch.randn(x0.shape, generator=generator(seed, f"{STREAM}/noise", index=start)).to(device)',
        "noise = torch.randn(x0.shape).to(device)",
        (f"{TRAINING}::test_validation_is_of_the_raw_and_of_the_averaged_weights",),
    ),
)


def main() -> None:
    """Try the mutants that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of their names")
    names = parser.parse_args().names
    chosen = [each for each in MUTANTS if not names or any(name in each.name for name in names)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_tree(copy)
        if not _passes(copy, sorted({test for mutant in chosen for test in mutant.tests})):
            sys.exit("the tests fail without any mutant")
        survivors = [mutant.name for mutant in chosen if not _noticed(mutant, copy)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants noticed")  # noqa: T201
    sys.exit(1 if survivors else 0)


def _copy_tree(copy: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, copy / name)
    # Tests that make a repository of their own ask git for the files of this one.
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)


def _noticed(mutant: Mutant, copy: Path) -> bool:
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    noticed = not _passes(copy, mutant.tests)
    path.write_text(text, encoding="utf-8")
    print(f"{'noticed ' if noticed else 'SURVIVES'}  {mutant.name}", flush=True)  # noqa: T201
    return noticed


def _passes(copy: Path, tests: Sequence[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=copy,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


if __name__ == "__main__":
    main()
