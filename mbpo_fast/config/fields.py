"""The settings as a flat list: what every key takes, and which kind of a group it belongs to."""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mbpo_fast.config.schema import Config
from mbpo_fast.config.strict_yaml import dump_yaml
from mbpo_fast.settings import EXPECTED

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


def config_schema_rows() -> list[SchemaRow]:
    """All settings with type, default and description, in the order of the schema."""
    return [
        SchemaRow(key, type_text(field), _value_text(field.get_default()), field.description or "", when)
        for key, field, when in all_fields(Config)
    ]


def settings_class(name: str, when: str = "") -> type[BaseModel] | None:
    """The class of a group, of the kind that `when` names; None for a group of several kinds by itself."""
    group: type[BaseModel] | None = Config
    for part in name.split("."):
        assert group is not None
        field = group.model_fields[part]
        group = kinds_of(field).get(when.rpartition(" ")[2]) or group_of(field)
    return group


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """The settings class of a field that is a group of one kind."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def kinds_of(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Kind -> settings class of a field that is a group of several kinds, the default first."""
    classes = [
        get_args(kind)[0] for kind in _union_members(field.annotation) if get_origin(kind) is Annotated
    ]
    return {group.model_fields["kind"].default: group for group in classes}


class Field(NamedTuple):
    """A setting; `when` says which kind it belongs to, such as `agent.kind ppo`, or nothing."""

    key: str
    field: FieldInfo
    when: str


def all_fields(group: type[BaseModel], prefix: str = "", when: str = "") -> Iterator[Field]:
    """Every setting of a group, those of every kind."""
    for name, field in group.model_fields.items():
        key, inner, kinds = f"{prefix}{name}", group_of(field), kinds_of(field)
        if kinds:
            yield Field(f"{key}.kind", _kind_field(kinds), "")
            for kind, settings in kinds.items():
                rows = all_fields(settings, f"{key}.", f"{key}.kind {kind}")
                yield from (row for row in rows if row.key != f"{key}.kind")
        elif inner is not None:
            yield from all_fields(inner, f"{key}.", when)
        else:
            yield Field(key, field, when)


def _kind_field(kinds: Mapping[str, type[BaseModel]]) -> FieldInfo:
    """The choice of a kind as a field of its own."""
    default, first = next(iter(kinds.items()))
    description = first.model_fields["kind"].description
    return FieldInfo(annotation=Literal[tuple(kinds)], default=default, description=description)  # type: ignore[arg-type]


def fields_in_use(tree: Mapping[str, Any]) -> list[Field]:
    """The settings of the kinds that the tree chooses."""
    return [row for row in all_fields(Config) if not row.when or row.when == choice_of(tree, row.when)]


def choice_of(tree: Mapping[str, Any], when: str) -> str:
    """What the tree chooses instead of `when`, or just that."""
    group = when.partition(".")[0]
    return f"{group}.kind {kind_in(tree, group)}"


def kind_in(tree: Mapping[str, Any], group: str) -> str | None:
    """The kind that the tree chooses for a top-level group; None where it has but one."""
    kinds = kinds_of(Config.model_fields[group]) if group in Config.model_fields else {}
    if not kinds:
        return None
    value = tree.get(group)
    return str(value.get("kind", next(iter(kinds)))) if isinstance(value, dict) else next(iter(kinds))


def type_text(field: FieldInfo) -> str:
    """Such as `int >= 1`, `a | b` or `number > 0 or null`."""
    if isinstance(field.json_schema_extra, dict) and EXPECTED in field.json_schema_extra:
        return str(field.json_schema_extra[EXPECTED])
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
