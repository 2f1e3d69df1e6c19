"""From presets, files and `--key.sub value` to a validated `Config`; every mistake is one line."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mbpo_fast.config.schema import Config
from mbpo_fast.config.strict_yaml import dump_yaml, parse_scalar, read_yaml
from mbpo_fast.errors import UsageError

PRESETS = Path(__file__).parent.parent / "presets"


_BOUNDS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "a multiple of",
    "pattern": "matching",
}


class SchemaRow(NamedTuple):
    """One setting, for people; `when` says which kind it belongs to, where a group has several."""

    key: str
    type: str
    default: str
    description: str
    when: str = ""


def load_config(sources: Sequence[str], overrides: Mapping[str, str]) -> Config:
    """Presets or YAML files, merged in order, then dotted overrides (text as in YAML; dashes = underscores).

    UsageError `SOURCE: key: reason (did you mean ...)` for whatever is wrong.
    """
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        path = _source_path(source)
        _merge(tree, read_yaml(path, str(source)), str(source), origins)
    for key, text in overrides.items():
        name = key.replace("-", "_")
        value = parse_scalar(text, f"--{name}")
        _merge(tree, _nested(name.split("."), value), f"--{name}", origins)
    _refuse_unknown(tree, Config, (), origins, tree)
    try:
        json.dumps(tree, ensure_ascii=False).encode()
        # JSON's strict mode: a list is a tuple, but neither "1", 1.0 nor true is an integer.
        return Config.model_validate_json(json.dumps(tree), strict=True)
    except UnicodeEncodeError:
        raise UsageError(f"{_last_source(origins)}: expected UTF-8 text") from None
    except ValidationError as error:
        raise UsageError(_describe(error, tree, origins)) from None


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def resolved_yaml(config: Config) -> str:
    """Every setting of a configuration, as a file that `load_config` takes."""
    return dump_yaml(config.model_dump(mode="json"))


def config_schema_rows() -> list[SchemaRow]:
    """All settings with type, default and description, in the order of the schema."""
    return [
        SchemaRow(key, _type_text(field), _value_text(field.get_default()), field.description or "", when)
        for key, field, when in _fields(Config)
    ]


def settings_class(name: str, when: str = "") -> type[BaseModel] | None:
    """The class of a group, of the kind that `when` names; None for a group of several kinds by itself."""
    group: type[BaseModel] | None = Config
    for part in name.split("."):
        assert group is not None
        field = group.model_fields[part]
        group = _kinds(field).get(when.rpartition(" ")[2]) or _group(field)
    return group


def differences(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) for every setting that differs."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    return [
        (key, before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)
    ]


def did_you_mean(word: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """A suggestion in brackets with a leading space, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f" (did you mean {close[0]}?)" if close else ""


def _source_path(source: str) -> Path:
    preset = PRESETS / f"{source}.yaml"
    names = preset_names()
    if source in names:
        return preset
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    raise UsageError(
        f"{source}: no such preset or file{did_you_mean(source, names)}; presets: {', '.join(names)}"
    )


def _nested(parts: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _merge(
    tree: dict[str, Any], new: Mapping[str, Any], source: str, origins: dict[str, str], prefix: str = ""
) -> None:
    """Put `new` into `tree`, groups merged and values replaced; `origins` notes who set what last."""
    for key, value in new.items():
        origins.pop(f"{prefix}{key}", None)  # the last word goes to the end
        origins[f"{prefix}{key}"] = source
        if isinstance(value, dict) and isinstance(tree.get(key, {}), dict):
            _merge(tree.setdefault(key, {}), value, source, origins, f"{prefix}{key}.")
        else:
            tree[key] = value


def _refuse_unknown(
    tree: Mapping[str, Any],
    group: type[BaseModel],
    path: tuple[str, ...],
    origins: Mapping[str, str],
    root: Mapping[str, Any],
) -> None:
    for key, value in tree.items():
        name = ".".join((*path, key))
        field = group.model_fields.get(key)
        if field is None:
            where = _located(name, origins)
            wanted = where.removeprefix("--") if where.startswith("--") else name
            raise UsageError(f"{where}: {_unknown(wanted, list(group.model_fields), root)}")
        if isinstance(value, dict):
            inner = _chosen(field, value, name, origins)
            if inner is not None:
                _refuse_unknown(value, inner, (*path, key), origins, root)


def _chosen(
    field: FieldInfo, value: Mapping[str, Any], name: str, origins: Mapping[str, str]
) -> type[BaseModel] | None:
    """The settings class of a group; where it has several kinds, the one that `kind` names."""
    kinds = _kinds(field)
    if not kinds:
        return _group(field)
    kind = value.get("kind", next(iter(kinds)))
    if not isinstance(kind, str) or kind not in kinds:
        expected, got = " | ".join(kinds), _shortened(json.dumps(kind))
        raise UsageError(f"{_located(f'{name}.kind', origins)}: expected {expected}, got {got}")
    return kinds[kind]


def _unknown(name: str, siblings: Sequence[str], tree: Mapping[str, Any]) -> str:
    """What is wrong with a key that is not known: it belongs to another kind, or it may be misspelt."""
    others = [when for key, _, when in _fields(Config) if key == name]
    if others:
        return f"unknown key with {_choice(tree, others[0])} (it belongs to {' and '.join(others)})"
    return f"unknown key{_suggestion(name, siblings, [key for key, _, _ in _fields_in_use(tree)])}"


def _suggestion(name: str, siblings: Sequence[str], every: Sequence[str]) -> str:
    """First the same last part in another group, then the group's own keys, then all keys in full."""
    group, _, last = name.rpartition(".")
    namesakes = [key for key in every if key.rpartition(".")[2] == last]
    close = difflib.get_close_matches(last, siblings, n=1)
    if close and not namesakes:
        namesakes = [f"{group}.{close[0]}" if group else close[0]]
    return f" (did you mean {namesakes[0]}?)" if namesakes else did_you_mean(name, every, cutoff=0.75)


def _last_source(origins: Mapping[str, str]) -> str:
    return list(origins.values())[-1]


def _located(name: str, origins: Mapping[str, str]) -> str:
    """`SOURCE: key`, or the option alone when the command line set it."""
    source = origins[name]
    return source if source.startswith(f"--{name}") else f"{source}: {name}"


def _describe(error: ValidationError, tree: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """The first problem in one line, and how many more there are."""
    first = error.errors(include_url=False)[0]
    name, value = _blamed(first["loc"], tree)
    others = len({_blamed(problem["loc"], tree)[0] for problem in error.errors(include_url=False)}) - 1
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
    else:
        field = {key: field for key, field, _ in _fields_in_use(tree)}.get(name)
        expected = _type_text(field) if field else "a group of settings"
        message = f"expected {expected}, got {_shortened(json.dumps(value))}"
    where = _located(name, origins) if name else _last_source(origins)
    return f"{where}: {message}" + (f" (and {others} more)" if others else "")


def _blamed(location: Sequence[int | str], tree: Mapping[str, Any]) -> tuple[str, Any]:
    """The key that an error is about, and its value; positions in a list are cut off."""
    value: Any = tree
    path: list[str] = []
    for i, part in enumerate(location):
        if i == 1 and part == _kind_in(tree, path[0] if path else ""):
            continue  # pydantic names the kind of a group between the group and the key
        if not isinstance(value, dict) or part not in value:
            break
        path.append(str(part))
        value = value[part]
    return ".".join(path), value


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _group(field: FieldInfo) -> type[BaseModel] | None:
    """The settings class of a field that is a group of one kind."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _kinds(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Kind -> settings class of a field that is a group of several kinds, the default first."""
    classes = [
        get_args(kind)[0] for kind in _union_members(field.annotation) if get_origin(kind) is Annotated
    ]
    return {group.model_fields["kind"].default: group for group in classes}


class _Field(NamedTuple):
    key: str
    field: FieldInfo
    when: str


def _fields(group: type[BaseModel], prefix: str = "", when: str = "") -> Iterator[_Field]:
    """Every setting, those of every kind; `when` is such as `agent.kind ppo`."""
    for name, field in group.model_fields.items():
        key, inner, kinds = f"{prefix}{name}", _group(field), _kinds(field)
        if kinds:
            yield _Field(f"{key}.kind", _kind_field(kinds), "")
            for kind, settings in kinds.items():
                rows = _fields(settings, f"{key}.", f"{key}.kind {kind}")
                yield from (row for row in rows if row.key != f"{key}.kind")
        elif inner is not None:
            yield from _fields(inner, f"{key}.", when)
        else:
            yield _Field(key, field, when)


def _kind_field(kinds: Mapping[str, type[BaseModel]]) -> FieldInfo:
    """The choice of a kind as a field of its own."""
    default, first = next(iter(kinds.items()))
    description = first.model_fields["kind"].description
    return FieldInfo(annotation=Literal[tuple(kinds)], default=default, description=description)  # type: ignore[arg-type]


def _fields_in_use(tree: Mapping[str, Any]) -> list[_Field]:
    """The settings of the kinds that the tree chooses."""
    return [row for row in _fields(Config) if not row.when or row.when == _choice(tree, row.when)]


def _choice(tree: Mapping[str, Any], when: str) -> str:
    group = when.partition(".")[0]
    return f"{group}.kind {_kind_in(tree, group)}"


def _kind_in(tree: Mapping[str, Any], group: str) -> str | None:
    """The kind that the tree chooses for a top-level group; None where it has but one."""
    kinds = _kinds(Config.model_fields[group]) if group in Config.model_fields else {}
    if not kinds:
        return None
    value = tree.get(group)
    return str(value.get("kind", next(iter(kinds)))) if isinstance(value, dict) else next(iter(kinds))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _type_text(field: FieldInfo) -> str:
    """Such as `int >= 1`, `a | b` or `number > 0 or null`."""
    names = [_kind_text(kind) for kind in _union_members(field.annotation)]
    bounds = []
    for rule in field.metadata:
        for name, sign in _BOUNDS.items():
            limit = getattr(rule, name, None)
            if limit is not None:
                bounds.append(f"{sign} {limit}")
    return " or ".join([f"{names[0]} {', '.join(bounds)}".strip(), *names[1:]])


def _union_members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _kind_text(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(str(value) for value in get_args(kind))
    if get_origin(kind) is tuple:
        return "[" + ", ".join(_kind_text(part) for part in get_args(kind)) + "]"
    names: dict[Any, str] = {float: "number", bool: "true | false", str: "text", NoneType: "null"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _value_text(value: Any) -> str:
    return dump_yaml({"value": value}).removeprefix("value: ").strip()
