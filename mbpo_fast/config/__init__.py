"""Settings: their schema, and the loader of YAML files and command-line overrides."""

from mbpo_fast.config.fields import SchemaRow, config_schema_rows
from mbpo_fast.config.loader import (
    differences,
    load_config,
    merged_config,
    preset_names,
    resolved_yaml,
)
from mbpo_fast.config.schema import MACHINE_KEYS, Config

__all__ = [
    "MACHINE_KEYS",
    "Config",
    "SchemaRow",
    "config_schema_rows",
    "differences",
    "load_config",
    "merged_config",
    "preset_names",
    "resolved_yaml",
]
