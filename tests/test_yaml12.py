"""params.yaml is read as DVC reads it, or refused in one line; and what DVC writes is read back as it was meant."""

import datetime
import itertools
import time
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rediffuse import yaml12
from rediffuse.errors import UserError

DEFAULT = (Path(__file__).parents[1] / "params.yaml").read_text()


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return yaml12.load(path)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("5e-05", 5e-5),
        ("1e-4", 1e-4),
        ("1.0e+3", 1000.0),
        ("off", "off"),
        ("yes", "yes"),
        ("010", 10),
        ("0o10", 8),
        ("1:30", "1:30"),
        ("1_000", 1000),
        ("true", True),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("'1e-4'", "1e-4"),
        (".5e5", ".5e5"),  # not YAML's, but DVC's: the type check of the key then refuses it
    ],
)
def test_scalars_follow_yaml_1_2_as_dvc_reads_it(tmp_path: Path, scalar: str, value: object):
    loaded = read(tmp_path, f"key: {scalar}\n")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


def scalars() -> list[str]:
    """Every combination of what decides a scalar's type, plain and with what may stand around it."""
    signs, wholes = (
        ("", "-", "+", "--"),
        ("", "0", "7", "08", "010", "1_000", "12", "1e", "0o17", "0x1F", "0b101", "0o8"),
    )
    fractions, exponents = ("", ".", ".5", "._", ".5_0", "_"), ("", "e5", "E-5", "e+05", "e", "e5.0", "e1_0")
    numbers = ["".join(parts) for parts in itertools.product(signs, wholes, fractions, exponents)]
    words = ["yes no on off y n true false null none ~ nan inf .nan .inf -.inf +.INF .Nan .NaN .infinity = << 1:30"]
    cased = [form(word) for word in words[0].split() for form in (str.lower, str.upper, str.title)]
    dates = ["2026-01-01", "2026-1-1", "2026-13-01", "2026-01-01T10:00:00Z", "2026-01-01 10:00:00", "20260101"]
    around = ["'{}'", '"{}"', "{} # note", "{}   ", "[{}]", "{}\r", "{}\n  more", "!!str {}", "{{k: {}}}"]
    plain = ["1e-4", "0x1f", "010", "yes", "null", "", "~", "1_0", "é", "日本", "a b", "2026-01-01", ".5e5", "0o7"]
    wrapped = [outer.format(inner) for outer, inner in itertools.product(around, plain)]
    odd = ["|\n  text\n", ">\n  folded\n  text\n", "&a 1", "!!set {a}", "!!binary aGk=", "!!float 1", "!!int '5'"]
    odd += [
        "!!python/object:os.system ls",
        "!mine 1",
        "!!omap [a: 1]",
        "\t1",
        "@at",
        "%x",
        "a: b",
        "[1, 2",
        "- 1",
        "*a",
    ]
    return [*numbers, *cased, *dates, *wrapped, *odd]


def outcome(reading: object, *refusals: type[Exception]) -> tuple[bool, object]:
    try:
        return True, reading()
    except refusals:
        return False, None


def test_every_scalar_has_dvcs_value_and_type_or_is_refused_in_one_line():
    agreed, refused = 0, set()
    for scalar in scalars():
        text = f"key: {scalar}\n"
        # On `_` alone where digits belong, DVC's reader itself fails.
        taken, theirs = outcome(lambda text=text: parse_yaml(text, "p"), ParseError, ValueError, KeyError)
        understood, ours = outcome(lambda text=text: yaml12.parse(text, "params.yaml"), UserError)
        if not understood:
            refused |= {scalar} if taken else set()
            continue
        assert taken, text
        # repr: nan is not nan, and True is 1.
        assert repr(ours) == repr(theirs), text
        agreed += 1
    assert agreed > 1800
    # All that DVC takes and parameters refuse: dates, which DVC reads as objects, anchors, and what is no plain value.
    dates = {scalar for scalar in refused if isinstance(parse_yaml(f"key: {scalar}", "p")["key"], datetime.date)}
    assert refused - dates - {"[2026-01-01]", "{k: 2026-01-01}"} == {
        *("&a 1", "!!set {a}", "!!binary aGk=", "!!omap [a: 1]"),
    }


@given(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none() | st.text("aß1e-_.: #'\"\\yn~\n"))
def test_what_dvcs_own_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: object):
    path = tmp_path_factory.mktemp("yaml") / "params.yaml"
    YAML().dump({"key": value}, path)
    loaded = yaml12.load(path)["key"]
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.lr=5e-05", "train", "lr", 5e-5),
        ("train.lr=0.00001", "train", "lr", 1e-5),
        ("train.lr=1e-4", "train", "lr", 1e-4),
        ("train.steps=1000", "train", "steps", 1000),
        ("train.horizontal_flip=true", "train", "horizontal_flip", True),
        ("train.schedule=off", "train", "schedule", "off"),
        ("train.guard.spike=null", "train", "guard", {"non_finite": "stop", "spike": None, "on_spike": "skip"}),
        ("clean.background=[0,128,255]", "clean", "background", [0, 128, 255]),
        ("sample.guidance_levels=[0.1,2.0]", "sample", "guidance_levels", [0.1, 2.0]),
        ("sample.classes={3:1.0,cat:2.0}", "sample", "classes", {3: 1.0, "cat": 2.0}),
        ("prepare.files='**/*.parquet'", "prepare", "files", "**/*.parquet"),
        ("prepare.about.origin='yes: 1:30 # no'", "prepare", "about", {"origin": "yes: 1:30 # no"}),
        ("prepare.about.retrieved='2026-11-23'", "prepare", "about", {"retrieved": "2026-11-23"}),
        ("+train.lrr=1", "train", "lrr", 1),
    ],
)
def test_what_dvc_exp_run_sets_is_read_as_it_was_meant(
    tmp_path: Path, override: str, section: str, key: str, value: object
):
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT)
    before = yaml12.load(path)
    apply_overrides(path, [override])
    after = yaml12.load(path)
    expected = before[section].get(key) | value if key == "about" else value
    assert repr(after[section][key]) == repr(expected)
    before[section][key] = after[section][key]
    assert after == before


def test_a_set_value_would_be_lost_behind_an_anchor_and_so_anchors_are_refused(tmp_path: Path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &x {k: 1}\nb: *x\n")
    apply_overrides(path, ["a.k=5"])
    assert parse_yaml(path.read_text(), "p")["a"] == {"k": 1}
    with pytest.raises(UserError, match="line 1: the anchor &x: write the value out"):
        yaml12.load(path)


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path):
    with pytest.raises(UserError, match=r"params.yaml: the key 'lr' stands twice, in lines 2 and 4"):
        read(tmp_path, "train:\n  lr: 1\n  steps: 2\n  lr: 3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("? [a]\n: 1", "line 1: a key must be a plain name"),
        ("a: !!int b", "line 1: 'b' is not an integer"),
        ("a: -_", "line 1: '-_' is not an integer"),
        ("a: {3.5: 1.0}", 'line 1: the key 3.5 is no text; put it in quotes: "3.5"'),
        ("b: 1\na: 2026-11-23", 'line 2: 2026-11-23 is read as a date; for a text, put it in quotes: "2026-11-23"'),
        ("a: {b: 1}\n<<: {c: 2}", "line 2: the merge <<: write its keys out"),
        ("a: !!set {b}", "line 1: tag:yaml.org,2002:set is no parameter"),
        ("a: !!python/object:os.system x", "line 1: tag:yaml.org,2002:python/object:os.system is no parameter"),
        ("%YAML 1.1\n---\na: yes", "the directive %YAML asks for another version"),
        ("a: " + "9" * 5001, "line 1: a number of 5001 characters; at most 100 are read"),
        ("a: 0x" + "f" * 5000, "line 1: a number of 5002 characters; at most 100 are read"),
        ("a: &a [1]\n" + "".join(f"b{i}: &a [*a, *a]\n" for i in range(60)), "line 1: the anchor &a"),
        ("[" * 100_000, "nested more than 40 levels deep"),
        ("a: " * 3 + "{a: " * 50_000, r"^params.yaml, line 1: not YAML"),
        ("- " * 100_000, "nested more than 40 levels deep"),
        ("- 1\n" * 2_500_000, "has 10000000 characters; at most 300000 are read"),
    ],
    ids=lambda value: value[:20],
)
def test_what_yaml_allows_and_parameters_do_not_is_refused_at_once(tmp_path: Path, text: str, message: str):
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message.removeprefix("^") in str(caught.value)
    assert str(caught.value).startswith("params.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\ta: 1", "a: 1\nb: \x00", "a: 1\n---\nb: 2", "a: *b"])
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path, text: str):
    with pytest.raises(UserError, match=r"^params.yaml, line \d: not YAML"):
        read(tmp_path, text)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1\r\nb: x y\r\n", b"a: 1\nb: x y"])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "params.yaml").write_bytes(content)
    assert yaml12.load(tmp_path / "params.yaml") == {"a": 1, "b": "x y"}


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"params.yaml is missing"):
        yaml12.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params.yaml can't be read: Is a directory"):
        yaml12.load(tmp_path / "params.yaml")
    (tmp_path / "other.yaml").write_bytes(b"a: \xff")
    with pytest.raises(UserError, match=r"other.yaml is not UTF-8: invalid start byte at byte 3"):
        yaml12.load(tmp_path / "other.yaml")
