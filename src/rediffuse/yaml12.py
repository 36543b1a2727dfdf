"""params.yaml as DVC reads it: YAML 1.2, by the parser that DVC itself uses.

PyYAML follows YAML 1.1, where `5e-05` is a string, `off` is false, `010` is 8 and `1:30` is 90, and where a key given
twice silently wins. Each of these has turned one experiment into another. What DVC takes, but could not write back as
it stood or would read as no plain value (an anchor, a merge, a date, a set), is refused with its line.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from rediffuse.errors import UserError

LARGEST_FILE = 300_000
"""Characters; under two seconds' work for the parser, and twenty times the default params.yaml."""

DEEPEST = 40
"""Levels of nesting."""

LONGEST_NUMBER = 100
"""Characters; beyond some thousand of them Python refuses to print an integer."""

_PREFIX = "tag:yaml.org,2002:"
_KINDS = {
    "null": "an empty value",
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "seq": "a list",
    "map": "a mapping",
}


def load(path: Path) -> Any:
    """The document in a YAML file.

    Raises:
        UserError: the file is missing, is not UTF-8 YAML, gives a key twice, or holds what is no plain value; the
            message names file and line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    try:
        return parse(content.decode("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None


def parse(text: str, name: str) -> Any:
    """The document in a text; raises as `load` does, for a file of this name."""
    if len(text) > LARGEST_FILE:
        raise UserError(f"{name} has {len(text)} characters; at most {LARGEST_FILE} are read")
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    # An anchor is refused below; its second use needs no warning as well.
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(text)
        if yaml.doc_infos[-1].doc_version is not None:
            raise UserError("the directive %YAML asks for another version; take it out, 1.2 is the one that is read")
        return None if root is None else _value(root, yaml.constructor)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except MaxDepthExceededError:
        raise UserError(f"{name}: nested more than {DEEPEST} levels deep") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{name}, line {line}: not YAML: the character #x{error.character:04x}") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{name}{where}: not YAML: {reason}") from None


def _value(node: Node, constructor: SafeConstructor) -> Any:
    """What a node stands for: None, a bool, a number, a text, or a list or mapping of such."""
    line = f"line {node.start_mark.line + 1}"
    if node.anchor is not None:
        raise UserError(
            f"{line}: the anchor &{node.anchor}: write the value out in each place; "
            "what dvc exp run -S sets in one of them would be lost"
        )
    kind = str(node.tag).removeprefix(_PREFIX)
    if kind == "timestamp":
        raise UserError(f'{line}: {node.value} is read as a date; for a text, put it in quotes: "{node.value}"')
    if kind not in _KINDS:
        raise UserError(f"{line}: {node.tag} is no parameter; a plain value, a list or a mapping is")
    if isinstance(node, MappingNode) and kind == "map":
        return _mapping(node, constructor)
    if isinstance(node, SequenceNode) and kind == "seq":
        return [_value(part, constructor) for part in node.value]
    if isinstance(node, ScalarNode) and kind not in ("map", "seq"):
        if kind in ("int", "float") and len(node.value) > LONGEST_NUMBER:
            raise UserError(f"{line}: a number of {len(node.value)} characters; at most {LONGEST_NUMBER} are read")
        try:
            return constructor.construct_object(node)
        except (ValueError, KeyError, IndexError):
            raise UserError(f"{line}: {node.value!r} is not {_KINDS[kind]}") from None
    raise UserError(f"{line}: what stands here is not {_KINDS[kind]}, as {node.tag} says")


def _mapping(node: MappingNode, constructor: SafeConstructor) -> dict[str | int, Any]:
    lines: dict[str | int, int] = {}
    values: dict[str | int, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            raise UserError(f"line {line}: a key must be a plain name")
        if key_node.value == "<<":
            raise UserError(f"line {line}: the merge <<: write its keys out; what is merged can't be changed by DVC")
        key = _value(key_node, constructor)
        # What dvc exp run -S writes for a class named 3 has no quotes.
        if type(key) not in (str, int):
            raise UserError(f'line {line}: the key {key_node.value} is no text; put it in quotes: "{key_node.value}"')
        if key in lines:
            raise UserError(f"the key {key!r} stands twice, in lines {lines[key]} and {line}; keep one")
        lines[key] = line
        values[key] = _value(value_node, constructor)
    return values
