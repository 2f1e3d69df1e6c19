"""The base of every settings class: frozen, strict about unknown keys, no NaN or infinity."""

from pydantic import BaseModel, ConfigDict

EXPECTED = "expected"
"""Key of a field's `json_schema_extra`: what it takes, in words, where its pattern is no help to people."""


class Settings(BaseModel):
    """A frozen group of settings; in YAML and, joined by dots, on the command line by field name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
