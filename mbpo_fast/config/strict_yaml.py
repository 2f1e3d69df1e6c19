"""YAML as people expect it: YAML 1.2's scalars, no duplicate keys, no aliases, bounded size and depth."""

import re
from pathlib import Path
from typing import Any

import yaml

from mbpo_fast.errors import UsageError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_NULL = re.compile(r"(?:~|null|Null|NULL|)")
# 1e6 is a whole number here: PyYAML, which reads YAML 1.1, makes it a string.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:[eE]\+?[0-9]{1,3})?")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,3})?|[0-9]+[eE]-[0-9]{1,3})")
_NUMBER_STARTS = list("-+.0123456789")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises (yes, 010, 1:30, dates, aliases, last duplicate wins)."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._refusal("aliases are not supported")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._refusal("nested too deeply")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refusal(self, problem: str) -> yaml.MarkedYAMLError:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="expected a name as key", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _construct_int(_loader: _StrictLoader, node: yaml.ScalarNode) -> int:
    digits, _, exponent = str(node.value).replace("_", "").lower().partition("e")
    return int(digits) * int(10 ** int(exponent or 0))


def _construct_float(_loader: _StrictLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.replace("_", ""))


def _construct_bool(_loader: _StrictLoader, node: yaml.ScalarNode) -> bool:
    return str(node.value).lower() == "true"


class _Dumper(yaml.SafeDumper):
    """Quotes exactly the strings that `_StrictLoader` would read as something else."""


_StrictLoader.yaml_implicit_resolvers = {}
_Dumper.yaml_implicit_resolvers = {}
for _name, _pattern, _starts in (
    ("bool", _BOOL, list("tTfF")),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("int", _INT, _NUMBER_STARTS),
    ("float", _FLOAT, _NUMBER_STARTS),
):
    for _class in (_StrictLoader, _Dumper):
        _whole = re.compile(f"(?:{_pattern.pattern})\\Z")
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _whole, _starts)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_StrictLoader.add_constructor("tag:yaml.org,2002:bool", _construct_bool)


def parse_scalar(text: str, label: str) -> Any:
    """A value as a user types it on the command line; `label` begins the error message."""
    try:
        return _parse(text, "")
    except UsageError as error:
        raise UsageError(f"{label}: cannot read {text!r}: {str(error).partition(': ')[2]}") from None


def read_yaml(path: Path, label: str) -> dict[str, Any]:
    """A file's top-level mapping; an empty file is an empty one. UsageError in one line otherwise."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{label}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{label}: expected at most {MAX_BYTES} bytes of settings")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{label}: expected UTF-8 text") from None
    tree = _parse(text, label)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"{label}: expected settings as `key: value` lines, got {type(tree).__name__}")
    return tree


def dump_yaml(tree: dict[str, Any]) -> str:
    """YAML that `read_yaml` reads back as the same tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _parse(text: str, label: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise UsageError(f"{label}{where}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{label}: not YAML: {str(error).splitlines()[0]}") from None
