"""Cases 41 to 47: whatever stands in params.yaml, it is sound parameters or one line that says what is wrong.

5,000 mutations of the default file, each a function of its number: the first 500 run in the default suite.
"""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rediffuse.errors import UserError
from rediffuse.params import Params, flatten, known_keys, load_params

DEFAULT = (Path(__file__).parents[2] / "params.yaml").read_text()
LINES = DEFAULT.splitlines()
MUTATIONS = 5000

VALUES = (
    *(
        "-1",
        "0",
        "-0.0",
        "0.5",
        "1.5",
        "1e-4",
        "1e308",
        "-1e308",
        "1e309",
        "1" + "0" * 50,
        "1" + "0" * 5000,
        "2147483648",
    ),
    *(
        ".nan",
        ".inf",
        "-.inf",
        "nan",
        "true",
        "off",
        "yes",
        "null",
        "~",
        "",
        "''",
        "abc",
        "'1'",
        "1_000",
        "010",
        "0x10",
    ),
    *("1:30", "2026-01-01", "[]", "[1]", "[1, [2]]", "[abc, 1.5]", "{}", "{a: 1}", "{1: 2}", "[null]", "[0, 0, 0]"),
    *(
        "'a\\nb'",
        '"a\\nb\\u2028"',
        "'" + "x" * 500 + "'",
        "é",
        "!!set {a}",
        "&a 1",
        "*a",
        "[1, 2",
        "{a: 1",
        "|",
        "@",
        "%",
        "`",
    ),
)
ODD = (
    "\t",
    "\x00",
    "\x07",
    "\ufeff",
    "\u2028",
    "\ud7ff",
    "é",
    "{",
    "}",
    "[",
    "]",
    ":",
    "#",
    "&",
    "*",
    "!",
    "|",
    ">",
    "'",
    '"',
    "%",
    "@",
    "`",
    "-",
    "?",
    ",",
)


def addressed() -> list[tuple[int, str]]:
    """Each key's line and dotted name, as indentation has it."""
    found, path = [], []
    for number, line in enumerate(LINES):
        match = re.match(r"( *)(\w+):", line)
        if match:
            path[len(match[1]) // 2 :] = [match[2]]
            found.append((number, ".".join(path)))
    return found


KEYS = addressed()


def set_value(draw: random.Random, lines: list[str]) -> str:
    number, key = draw.choice(KEYS)
    lines[number] = re.sub(r"^( *\w+:).*$", lambda match: f"{match[1]} {draw.choice(VALUES)}", lines[number])
    return key


def drop_key(draw: random.Random, lines: list[str]) -> str:
    number, key = draw.choice(KEYS)
    section = lines[number].split("#")[0].rstrip().endswith(":")
    del lines[number]
    # What stood below a section then stands below another.
    return "" if section else key


def repeat_key(draw: random.Random, lines: list[str]) -> str:
    number, key = draw.choice(KEYS)
    lines.insert(draw.choice((number, number + 1)), lines[number])
    return key


def rename_key(draw: random.Random, lines: list[str]) -> str:
    number, key = draw.choice(KEYS)
    name = key.rpartition(".")[2]
    other = draw.choice((name.upper(), name + "s", name[:-1] or "x", name[::-1], "x" * 300, draw.choice(KEYS)[1]))
    lines[number] = lines[number].replace(f"{name}:", f"{other}:", 1)
    return ""


def swap_values(draw: random.Random, lines: list[str]) -> str:
    (one, _), (other, _) = draw.choice(KEYS), draw.choice(KEYS)
    parts = [lines[number].partition(":") for number in (one, other)]
    lines[one], lines[other] = (f"{parts[0][0]}:{parts[1][2]}", f"{parts[1][0]}:{parts[0][2]}")
    return ""


def indent(draw: random.Random, lines: list[str]) -> str:
    number = draw.randrange(len(lines))
    lines[number] = draw.choice((" ", "  ", "   ", "\t")) + lines[number]
    return ""


def outdent(draw: random.Random, lines: list[str]) -> str:
    number = draw.randrange(len(lines))
    lines[number] = lines[number][draw.randint(1, 3) :]
    return ""


def splice(draw: random.Random, lines: list[str]) -> str:
    number = draw.randrange(len(lines) - 1)
    lines[number : number + 2] = [lines[number][: draw.randrange(40)] + lines[number + 1]]
    return ""


def insert_odd(draw: random.Random, lines: list[str]) -> str:
    number = draw.randrange(len(lines))
    place = draw.randrange(len(lines[number]) + 1)
    lines[number] = lines[number][:place] + draw.choice(ODD) + lines[number][place:]
    return ""


def cut_off(draw: random.Random, lines: list[str]) -> str:
    text = "\n".join(lines)
    lines[:] = text[: draw.randrange(len(text))].split("\n")
    return ""


def move_line(draw: random.Random, lines: list[str]) -> str:
    lines.insert(draw.randrange(len(lines)), lines.pop(draw.randrange(len(lines))))
    return ""


# Values most often: there the key must be named too.
KINDS: tuple[Callable[[random.Random, list[str]], str], ...] = (
    *(set_value,) * 6,
    *(drop_key, repeat_key, rename_key, swap_values, indent, outdent, splice, insert_odd, cut_off, move_line),
)


def mutation(index: int) -> tuple[str, str]:
    """A broken params.yaml, and the key that its message must name, where there is one."""
    draw = random.Random(index)
    lines = list(LINES)
    key = KINDS[index % len(KINDS)](draw, lines)
    return "\n".join(lines) + "\n", key


def sound(params: Params) -> None:
    """What the stages build on holds, and the parameters are what their own dump says."""
    train, unet, sample = params.train, params.model.unet, params.sample
    assert train.batch_size % train.microbatch == 0
    assert train.batch_size // train.microbatch % params.runtime.processes == 0
    assert not any(unet.width * factor % unet.groups for factor in unet.multipliers)
    assert not (unet.attention_sizes and any(unet.width * factor % unet.head_channels for factor in unet.multipliers))
    assert params.clean.size is None or params.clean.size % params.model.settings.size_factor == 0
    assert sample.grid != "discrete" or sample.steps <= params.diffusion.whole_steps
    assert sample.count > params.evaluate.neighbours
    assert {key for key in flatten(params.model_dump()) if not key.startswith("sample.classes")} <= set(known_keys())
    assert Params.model_validate(params.model_dump()) == params


def check_mutations(tmp_path: Path, indices: range) -> tuple[int, int]:
    """How many of them were taken and how many refused."""
    path = tmp_path / "params.yaml"
    taken = refused = 0
    for index in indices:
        text, key = mutation(index)
        path.write_text(text, encoding="utf-8")
        started = time.process_time()
        try:
            sound(load_params(path))
            taken += 1
        except UserError as error:
            message = str(error)
            assert message.startswith("params.yaml"), (index, message)
            assert message.isprintable(), (index, message)
            assert len(message) < 500, (index, message)
            # By its name, or by its line where the text is no YAML; without its only key a section is none.
            named = key in message or f"{key.rpartition('.')[0]} is None: a mapping" in message
            assert named or re.search(r"lines? \d+", message), (index, key, message)
            refused += 1
        assert time.process_time() - started < 2, index
    return taken, refused


def test_the_mutations_know_every_key_that_has_a_line_of_its_own():
    flow = re.compile(r"\.(action|range|level|bits|deviations|similarity|flips|probability)$")
    assert {key for _, key in KEYS} == {key for key in known_keys() if not flow.search(key)}


def test_120_mutated_files_are_sound_parameters_or_one_line(tmp_path: Path):
    taken, refused = check_mutations(tmp_path, range(120))
    assert taken > 4
    assert refused > 72


@pytest.mark.slow
def test_5000_mutated_files_are_sound_parameters_or_one_line(tmp_path: Path):
    taken, refused = check_mutations(tmp_path, range(MUTATIONS))
    assert taken + refused == MUTATIONS
    assert refused > 3000
