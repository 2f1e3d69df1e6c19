"""From presets, files and `--key.sub value` to a validated `Config`; every mistake is one line."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mbpo_fast.config.fields import (
    all_fields,
    choice_of,
    fields_in_use,
    group_of,
    kind_in,
    kinds_of,
    type_text,
)
from mbpo_fast.config.schema import Config
from mbpo_fast.config.strict_yaml import dump_yaml, parse_scalar, read_yaml
from mbpo_fast.errors import UsageError

PRESETS = Path(__file__).parent.parent / "presets"


def load_config(sources: Sequence[str], overrides: Mapping[str, str]) -> Config:
    """Presets or YAML files, merged in order, then dotted overrides (text as in YAML; dashes = underscores).

    UsageError `SOURCE: key: reason (did you mean ...)` for whatever is wrong.
    """
    return merged_config(
        ((str(source), read_yaml(_source_path(source), str(source))) for source in sources), overrides
    )


def merged_config(parts: Iterable[tuple[str, Mapping[str, Any]]], overrides: Mapping[str, str]) -> Config:
    """`load_config` of trees that are no files: (name, tree), merged in order; names are for messages."""
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, part in parts:
        _merge(tree, part, name, origins)
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
    kinds = kinds_of(field)
    if not kinds:
        return group_of(field)
    kind = value.get("kind", next(iter(kinds)))
    if not isinstance(kind, str) or kind not in kinds:
        expected, got = " | ".join(kinds), _shortened(json.dumps(kind))
        raise UsageError(f"{_located(f'{name}.kind', origins)}: expected {expected}, got {got}")
    return kinds[kind]


def _unknown(name: str, siblings: Sequence[str], tree: Mapping[str, Any]) -> str:
    """What is wrong with a key that is not known: it belongs to another kind, or it may be misspelt."""
    others = [when for key, _, when in all_fields(Config) if key == name]
    if others:
        return f"unknown key with {choice_of(tree, others[0])} (it belongs to {' and '.join(others)})"
    return f"unknown key{_suggestion(name, siblings, [key for key, _, _ in fields_in_use(tree)])}"


def _suggestion(name: str, siblings: Sequence[str], every: Sequence[str]) -> str:
    """First the same last part in another group, then the group's own keys, then all keys in full."""
    group, _, last = name.rpartition(".")
    namesakes = [key for key in every if key.rpartition(".")[2] == last]
    namesakes.sort(key=lambda key: not key.endswith(f".{name}"))
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
        field = {key: field for key, field, _ in fields_in_use(tree)}.get(name)
        expected = type_text(field) if field else "a group of settings"
        message = f"expected {expected}, got {_shortened(json.dumps(value))}"
    where = _located(name, origins) if name else _last_source(origins)
    return f"{where}: {message}" + (f" (and {others} more)" if others else "")


def _blamed(location: Sequence[int | str], tree: Mapping[str, Any]) -> tuple[str, Any]:
    """The key that an error is about, and its value; positions in a list are cut off."""
    value: Any = tree
    path: list[str] = []
    for i, part in enumerate(location):
        if i == 1 and part == kind_in(tree, path[0] if path else ""):
            continue  # pydantic names the kind of a group between the group and the key
        if not isinstance(value, dict) or part not in value:
            break
        path.append(str(part))
        value = value[part]
    return ".".join(path), value


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
