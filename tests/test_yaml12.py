"""params.yaml is read as DVC writes it: YAML 1.2."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rediffuse import yaml12
from rediffuse.errors import UserError


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
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("'1e-4'", "1e-4"),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, scalar: str, value: object):
    loaded = read(tmp_path, f"key: {scalar}\n")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


@given(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none())
def test_what_dvcs_own_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: object):
    path = tmp_path_factory.mktemp("yaml") / "params.yaml"
    YAML().dump({"key": value}, path)
    loaded = yaml12.load(path)["key"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path):
    with pytest.raises(UserError, match=r"params.yaml: the key 'lr' stands twice, in lines 2 and 4"):
        read(tmp_path, "train:\n  lr: 1\n  steps: 2\n  lr: 3\n")


@pytest.mark.parametrize(
    ("text", "message"), [("? [a]\n: 1", "line 1: a key must be a plain name"), ("a: !!int b", "line 1: 'b' is not an")]
)
def test_what_yaml_allows_and_parameters_do_not_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=f"^params.yaml: {message}"):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\ta: 1"])
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path, text: str):
    with pytest.raises(UserError, match=r"^params.yaml, line \d: not YAML"):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"params.yaml is missing"):
        yaml12.load(tmp_path / "params.yaml")
